# shellcheck shell=bash
# Debian packages: installed when they cannot do harm, unpacked into .cache/debian when installing would start a service.

export DEBIAN_FRONTEND=noninteractive
unpacked=$cache/debian

apt() {
  command -v apt-get > /dev/null || die "this machine has no apt-get; install these Debian packages by your own means: $*"
  # Another apt may be at work (cloud-init, unattended-upgrades): wait for it rather than fail.
  apt-get -qq -o DPkg::Lock::Timeout=300 -o Acquire::Retries=3 -o Dpkg::Options::=--force-confold "$@"
}

# Package lists, fetched at most once a run and only when something has to be installed.
lists_fetched=
fetch_lists() {
  [ -z "$lists_fetched" ] || return 0
  # One broken source of several (a third party's, say) must not stop us: what we need is in Debian's own.
  quietly apt update || say "not all package sources answered; going on with what is there"
  lists_fetched=yes
}

installed() { [ "$(dpkg-query -W -f '${db:Status-Status}' "$1" 2> /dev/null)" = installed ]; }

# Installs those of the named packages that are missing.
need_packages() {
  local name missing=()
  for name in "$@"; do installed "$name" || missing+=("$name"); done
  [ ${#missing[@]} -gt 0 ] || return 0
  [ "$(id -u)" = 0 ] || die "these Debian packages are missing and only root can install them: ${missing[*]}"
  begin "installing Debian packages: ${missing[*]}"
  fetch_lists
  quietly apt install -y --no-install-recommends "${missing[@]}"
}

# Takes packages apart under .cache/debian without installing them, so that none of their services ever starts.
need_unpacked() {
  local name missing=() dir
  for name in "$@"; do [ -e "$unpacked/.have/$name" ] || missing+=("$name"); done
  [ ${#missing[@]} -gt 0 ] || return 0
  begin "unpacking Debian packages into .cache: ${missing[*]}"
  mkdir -p "$unpacked/.have"
  for name in "${missing[@]}"; do
    dir=$(mktemp -d)
    # apt drops its privileges to write the file; the folder has to let it.
    chmod 777 "$dir"
    if ! (cd "$dir" && quietly apt download "$name"); then
      fetch_lists
      (cd "$dir" && quietly apt download "$name")
    fi
    quietly dpkg-deb -x "$dir"/*.deb "$unpacked"
    rm -rf "$dir"
    touch "$unpacked/.have/$name"
  done
}
