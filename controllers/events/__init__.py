"""What is made of events and changes beyond the controllers' own work: the numbers of ``/metrics``."""
