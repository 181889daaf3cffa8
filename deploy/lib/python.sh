# shellcheck shell=bash
# The project's own virtual environment, .venv, holding exactly what a lock file says.

venv=$project/.venv

find_python() {
  local candidate path
  for candidate in /usr/bin/python3 python3.11 python3 python3.12 python3.13; do
    path=$(command -v "$candidate") || continue
    if "$path" -c 'import sys, venv, ensurepip; sys.exit(sys.version_info < (3, 11))' > /dev/null 2>&1; then
      echo "$path"
      return 0
    fi
  done
  return 1
}

# need_venv LOCK...: installs the first lock unless it, or one of the others (supersets of it), is what is there already.
need_venv() {
  local lock=$1 name wanted python have
  have=$(cat "$venv/.installed" 2> /dev/null || true)
  for name in "$@"; do
    wanted=$(venv_stamp "$name")
    if [ "$have" = "$wanted" ] && [ -x "$venv/bin/wharfinger" ] && "$venv/bin/python" -c '' 2> /dev/null; then return 0; fi
  done
  # A virtual environment does not survive being moved: its scripts name their interpreter by path.
  if ! "$venv/bin/python" -m pip --version > /dev/null 2>&1 || [ "${have##* }" != "${have:+$venv}" ]; then
    python=$(find_python) || { need_packages python3 python3-venv && python=$(find_python); } \
      || die "no Python of 3.11 or newer with its venv module was found: apt-get install python3 python3-venv"
    begin "making the virtual environment .venv with $python"
    quietly "$python" -m venv --clear "$venv"
  fi
  begin "installing $(basename "$lock") into .venv"
  quietly "$venv/bin/python" -m pip install -q --disable-pip-version-check --no-input --require-hashes --only-binary :all: -r "$lock"
  quietly "$venv/bin/python" -m pip install -q --disable-pip-version-check --no-input --no-deps --no-index \
    --no-build-isolation --config-settings editable_mode=compat -e "$project"
  venv_stamp "$lock" > "$venv/.installed"
}

# What .venv was made from: the digests of both files, and where it stands (last).
venv_stamp() { echo "$(sha256sum < "$project/pyproject.toml" | cut -c1-64) $(sha256sum < "$1" | cut -c1-64) $venv"; }
