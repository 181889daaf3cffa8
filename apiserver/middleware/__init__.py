"""What surrounds every request: errors, the versions, who may ask, the log and the metrics."""
