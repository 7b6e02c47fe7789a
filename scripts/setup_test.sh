#!/usr/bin/env bash
# Installs what the tests start by themselves: RabbitMQ, etcd, bubblewrap, libfaketime, promtool and Chromium. Does nothing where they are.
# Starts no service and leaves none running: the tests start their own servers, on free ports, in temporary folders.
set -euo pipefail
PATH=$PATH:/usr/sbin:/usr/lib/rabbitmq/bin

packages=()
command -v rabbitmq-server >/dev/null || packages+=(rabbitmq-server)
command -v etcd >/dev/null || packages+=(etcd-server etcd-client)
command -v bwrap >/dev/null || packages+=(bubblewrap)
[ -n "$(find /usr/lib /usr/lib64 -name libfaketimeMT.so.1 -print -quit 2>/dev/null)" ] || packages+=(libfaketime)
command -v promtool >/dev/null || packages+=(prometheus)
if ! command -v chromedriver >/dev/null; then
  if grep --quiet '^ID=ubuntu' /etc/os-release 2>/dev/null; then
    echo "Ubuntu has Chromium as a snap only. Put chromium and chromedriver on PATH your way, or the dashboard's tests are skipped." >&2
  else
    packages+=(chromium chromium-driver)
  fi
fi
[ ${#packages[@]} -gt 0 ] || exit 0

install=(env DEBIAN_FRONTEND=noninteractive RUNLEVEL=1 apt-get install --yes --no-install-recommends "${packages[@]}")
if ! command -v apt-get >/dev/null; then
  echo "The tests need ${packages[*]}. This is not Debian or Ubuntu: install them your way and put them on PATH." >&2
  exit 1
fi
if [ "$(id -u)" -eq 0 ]; then
  as_root=()
elif command -v sudo >/dev/null && sudo --non-interactive true 2>/dev/null; then
  as_root=(sudo)
else
  echo "The tests need ${packages[*]}, and installing them needs root. Run this, then the same again:" >&2
  echo "  sudo apt-get update && sudo ${install[*]}" >&2
  exit 1
fi

# Under systemd a masked service is not started by its package. Elsewhere runlevel 1 says the same (invoke-rc.d).
if [ -d /run/systemd/system ]; then
  services=()
  for package in "${packages[@]}"; do
    case $package in
      rabbitmq-server) services+=(rabbitmq-server.service epmd.service epmd.socket) ;;
      etcd-server) services+=(etcd.service) ;;
      prometheus) services+=(prometheus.service) ;;
    esac
  done
  if [ ${#services[@]} -gt 0 ]; then
    "${as_root[@]}" systemctl mask --quiet "${services[@]}"
    echo "Masked, so that they do not start on this machine: ${services[*]}. To use them: sudo systemctl unmask NAME"
  fi
fi
echo "Installing ${packages[*]}"
"${as_root[@]}" apt-get update --quiet=2
"${as_root[@]}" "${install[@]}" --quiet=2 >/dev/null
