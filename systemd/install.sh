#!/usr/bin/env bash
# Installs edge-runtime into the virtual environment /opt/edge-runtime, on Raspberry Pi OS, Debian
# or Ubuntu, 64-bit or 32-bit; run again, it upgrades. No compiler is ever needed.
#
#     sudo systemd/install.sh           from a checkout or an unpacked source archive
#     systemd/install.sh --packages     prints what it would ask of apt, changes nothing
#
# The environment sees the distribution's Python packages (--system-site-packages), for picamera2
# comes from apt only. numpy then is the distribution's, too, wherever pip finds it good enough: the
# compiled parts that picamera2 brings were built for it, and a process has but one numpy.
set -euo pipefail

PLACE=/opt/edge-runtime
COMMAND=/usr/local/bin/edge
PYTHON=/usr/bin/python3  # the distribution's: its packages are for no other
SOURCE=$(cd "$(dirname "${BASH_SOURCE[0]}")/.." && pwd)

fail() {
  local status=$1
  shift
  printf 'install.sh: %s\n' "$@" >&2
  exit "$status"
}

# What the system is, told by its Python and not by the kernel: a 32-bit Raspberry Pi OS on a Pi 4
# boots a 64-bit kernel, and `uname -m` then says aarch64.
look() {
  [ -x "$PYTHON" ] || fail 1 "there is no $PYTHON: sudo apt install python3"
  command -v apt-get >/dev/null ||
    fail 1 "this is for systems with apt (Raspberry Pi OS, Debian, Ubuntu); elsewhere use pip, see README.md"
  read -r BITS VERSION MACHINE < <("$PYTHON" -c '
import platform, sys
print(64 if sys.maxsize > 2**32 else 32, "%d.%d" % sys.version_info[:2], platform.machine())')
  local minor=${VERSION#3.} system
  system=$(. /etc/os-release 2>/dev/null && echo "${PRETTY_NAME:-this system}" || echo "this system")

  if [ "$minor" -lt 10 ]; then
    fail 1 "$system has Python $VERSION, and 3.10 is the oldest that edge-runtime runs on" \
      "install Raspberry Pi OS Bookworm or newer"
  fi
  case $BITS:$MACHINE in
    64:x86_64 | 64:aarch64) return ;;
    32:armv6*)
      fail 1 "this processor is an ARMv6 (Pi 1, Pi Zero, Pi Zero W): no inference engine is built for it" \
        "use a Pi Zero 2 W, a Pi 2 or newer"
      ;;
    32:armv7* | 32:armv8* | 32:aarch64) ;;
    *) fail 1 "no inference engine is built for a $BITS-bit Python on $MACHINE" ;;
  esac
  if [ "$minor" -gt 11 ]; then
    fail 1 "$system is a 32-bit system with Python $VERSION, and no inference engine is built for that" \
      "install the 64-bit Raspberry Pi OS, or the 32-bit one of Bookworm (\"Legacy\")"
  fi
}

packages() {
  echo python3-venv python3-numpy
  if [ "$BITS" = 32 ]; then
    # No wheels for 32-bit ARM; of cryptography there is one, but none of cffi, which it needs.
    echo python3-opencv python3-yaml python3-cryptography
  fi
  if grep -rqs 'archive\.raspberrypi\.' /etc/apt/sources.list /etc/apt/sources.list.d; then
    echo python3-picamera2
  fi
}

install_packages() {
  local package missing=()
  for package in $(packages); do
    dpkg-query --show --showformat='${db:Status-Status}' "$package" 2>/dev/null | grep -qx installed ||
      missing+=("$package")
  done
  if [ ${#missing[@]} -eq 0 ]; then
    echo "   all there"
    return
  fi
  echo "   ${missing[*]}"
  export DEBIAN_FRONTEND=noninteractive
  apt-get update -qq || echo "   apt-get update failed; going on with what apt knows"
  apt-get install -y -qq --no-install-recommends "${missing[@]}" </dev/null >"$WORK/apt.log" 2>&1 || {
    tail -n 20 "$WORK/apt.log" >&2
    fail 1 "apt could not install ${missing[*]}: see above"
  }
}

make_environment() {
  local clear=()
  if [ -e "$PLACE" ] && [ ! -e "$PLACE/pyvenv.cfg" ] && [ -n "$(ls -A "$PLACE")" ]; then
    fail 1 "$PLACE is there and is no virtual environment: move it away"
  fi
  # After an upgrade of the distribution the old environment has no Python any more.
  if [ -e "$PLACE/pyvenv.cfg" ] && [ ! -d "$PLACE/lib/python$VERSION" ]; then
    echo "   it was for another Python than $VERSION: made anew"
    clear=(--clear)
  fi
  "$PYTHON" -m venv --system-site-packages "${clear[@]}" "$PLACE"
}

pip() { "$PLACE/bin/python" -m pip --quiet --disable-pip-version-check --no-input "$@"; }

install_wheels() {
  local wheel
  pip wheel --no-deps --wheel-dir "$WORK" "$SOURCE"
  wheel=$(echo "$WORK"/edge_runtime-*.whl)
  "$PLACE/bin/python" "$SOURCE/systemd/requirements.py" "$wheel" >"$WORK/requirements.txt"
  pip install --only-binary=:all: --requirement "$WORK/requirements.txt"
  # Ours by name, for a newer checkout may bear the same version.
  pip install --no-deps --force-reinstall "$wheel"
}

try_it() {
  local bundled=$PLACE/lib/python$VERSION/site-packages/edge/bundled/models/digits
  "$PLACE/bin/edge" infer "$bundled/digits.tflite" "$bundled/held-out.png" \
    --labels "$bundled/labels.txt" --top-k 1 >"$WORK/tried.txt" 2>&1 || {
    cat "$WORK/tried.txt" >&2
    fail 1 "edge-runtime is installed and does not run a model here: see above"
  }
}

restart_services() {
  [ -d /run/systemd/system ] || return 0
  local running
  running=$(systemctl list-units --plain --no-legend --state=active 'edge-runtime*.service' | cut -d' ' -f1)
  [ -n "$running" ] || return 0
  echo "   restarting" $running
  systemctl restart $running
}

case ${1-} in
  '') look ;;
  --packages)
    look
    echo $(packages)
    exit
    ;;
  *) fail 2 "usage: sudo systemd/install.sh, or systemd/install.sh --packages" ;;
esac
[ "$(id -u)" = 0 ] || fail 1 "this needs root: sudo systemd/install.sh"
[ -f "$SOURCE/pyproject.toml" ] || fail 1 "$SOURCE is neither a checkout nor a source archive of edge-runtime"
if dpkg-query --show --showformat='${db:Status-Status}' edge-runtime 2>/dev/null | grep -qx installed; then
  fail 1 "edge-runtime is installed as a .deb: upgrade it that way, or \`sudo apt remove edge-runtime\` first"
fi
cd /  # wherever it was called from, perhaps a folder that goes away
umask 022  # the service runs as a user of its own and must read what is installed here
WORK=$(mktemp -d /var/tmp/edge-runtime.XXXXXX)  # /tmp may be memory, and a small Pi has little
trap 'rm -rf "$WORK"' EXIT
export TMPDIR=$WORK

echo "1/4 Packages of the distribution ($BITS-bit, Python $VERSION)"
install_packages
echo "2/4 The virtual environment $PLACE"
make_environment
echo "3/4 Wheels (some minutes on a Pi)"
install_wheels
ln -sfn "$PLACE/bin/edge" "$COMMAND"
echo "4/4 A model, to see it work"
try_it
restart_services

cat <<END

$("$COMMAND" --version) is installed. What is next:
  edge doctor                              what this device has, and what it lacks
  edge init                                writes device.yaml for it, to be edited
  edge check device.yaml                   is it right?
  sudo edge service install device.yaml    starts now and at every boot
END
