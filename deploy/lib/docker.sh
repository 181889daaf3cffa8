# shellcheck shell=bash
# The docker command: the one on PATH, or else Debian's, unpacked beside us.

# Prints its path.
find_docker() {
  if type -P docker; then return 0; fi
  need_unpacked docker.io
  echo "$unpacked/usr/bin/docker"
}
