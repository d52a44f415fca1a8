#!/bin/bash
# in_chroot.sh OLD.deb NEW.deb: installs a package, starts what its unit starts, stores a value,
# upgrades, removes and purges, on top of this machine's own root, of which nothing is changed: all
# writes go to an overlay in memory, in namespaces of their own. Wants root; 77 says that this
# machine does not allow it.
set -eu

skip() {
  echo "skipped: $1"
  exit 77
}

step() { echo "== $1"; }

# Starts what the unit starts, as the user that it names; runs "$@" once it serves; stops it.
while_served() {
  local unit=/lib/systemd/system/kyrodb.service command pid
  local -a settings
  command=$(sed -n 's/^ExecStart=//p' "$unit")
  mapfile -t settings < <(sed -n 's/^Environment=//p' "$unit" && grep -v '^#' /etc/default/kyrodb)
  # shellcheck disable=SC2086  # the words of a command
  setpriv --reuid "$(sed -n 's/^User=//p' "$unit")" --regid kyrodb --clear-groups \
    env "${settings[@]}" $command 2>/tmp/server.log &
  pid=$!
  until kyrodbctl ready >/dev/null 2>&1; do
    kill -0 "$pid" || { cat /tmp/server.log && exit 1; }
    sleep 0.05  # between two questions
  done
  "$@"
  kill "$pid"
  wait "$pid"
}

check_value() { [ "$(kyrodbctl get 1)" = one ]; }
put_value() { kyrodbctl put 1 one && check_value && kyrodbctl status | grep -q '^state *ready$'; }

inside() {
  export DEBIAN_FRONTEND=noninteractive LC_ALL=C.UTF-8 PATH=/usr/sbin:/usr/bin:/sbin:/bin
  step "installation"
  dpkg -i /old.deb
  [ "$(stat -c '%U %G %a' /var/lib/kyrodb)" = "kyrodb kyrodb 700" ]
  [ -s /usr/share/man/man1/kyrodbctl.1.gz ]
  [ -L /etc/systemd/system/multi-user.target.wants/kyrodb.service ]
  while_served put_value
  step "upgrade"
  echo KYRODB_FSYNC=interval:50 >>/etc/default/kyrodb
  dpkg -i /new.deb
  grep -q '^KYRODB_FSYNC=interval:50$' /etc/default/kyrodb
  while_served check_value
  step "removal"
  dpkg -r kyrodb
  [ ! -e /usr/bin/kyrodb ] && [ -e /etc/default/kyrodb ]
  step "purge"
  dpkg --purge kyrodb
  [ ! -e /etc/default/kyrodb ] && [ ! -e /lib/systemd/system/kyrodb.service ]
  [ ! -L /etc/systemd/system/multi-user.target.wants/kyrodb.service ]
  [ -e /var/lib/kyrodb/manifest.json ]
  step "done"
}

build_root() {
  local memory=/mnt
  mount -t tmpfs tmpfs "$memory" || skip "no tmpfs"
  mkdir "$memory/upper" "$memory/work" "$memory/root"
  mount -t overlay overlay "$memory/root" \
    -o "lowerdir=/,upperdir=$memory/upper,workdir=$memory/work" || skip "no overlay"
  cp "$1" "$memory/root/old.deb"
  cp "$2" "$memory/root/new.deb"
  cp "$0" "$memory/root/in_chroot.sh"
  mount --rbind /dev "$memory/root/dev"
  mount -t proc proc "$memory/root/proc"
  mount -t tmpfs tmpfs "$memory/root/tmp"
  mount -t tmpfs tmpfs "$memory/root/run"
  ip link set lo up || skip "no loopback"
  exec chroot "$memory/root" /bin/bash /in_chroot.sh inside
}

case $1 in
  inside) inside ;;
  root) build_root "$2" "$3" ;;
  *)
    for tool in unshare setpriv ip dpkg adduser; do
      command -v "$tool" >/dev/null || skip "$tool is not installed"
    done
    unshare --mount --pid --net --fork true 2>/dev/null || skip "no namespaces"
    exec unshare --mount --pid --net --fork "$0" root "$1" "$2"
    ;;
esac
