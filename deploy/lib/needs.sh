# shellcheck shell=bash
# Which Debian packages what needs, in one place.
# shellcheck disable=SC2034

# The daemon: the runtime and its monitor, firewall, links, name server, init, seccomp profile, CAs for registries.
run_packages=(runc conmon nftables libnftables1 iproute2 dnsmasq-base tini golang-github-containers-common procps kmod ca-certificates)
# The tests besides: sample image, registry tools, the peer's needs, the store's second database.
test_packages=(busybox-static skopeo iptables libdevmapper1.02.1 openssl zstd xz-utils util-linux postgresql-15)
# Their services must not start here.
test_unpacked=(docker.io tini containerd docker-registry prometheus)

# PostgreSQL's package would make a cluster and start it, unless told beforehand that none is wanted.
need_test_packages() {
  local setting=/etc/postgresql-common/createcluster.conf
  if ! installed postgresql-15 && [ ! -e "$setting" ]; then
    mkdir -p "$(dirname "$setting")"
    echo 'create_main_cluster = false' > "$setting"
  fi
  need_packages "${test_packages[@]}"
}
