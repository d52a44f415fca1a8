#!/bin/bash
# on_overlay.sh plain|booted OLD.deb NEW.deb: installs a package, lets it serve, stores a value,
# upgrades, removes and purges, on top of this machine's own root, of which nothing is changed: all
# writes go to an overlay in memory, in namespaces of their own. `plain` uses dpkg and starts itself
# what the unit starts; `booted` boots systemd as the first process there, installs with apt, and
# leaves the rest to the unit. `developer LIBRARY.deb HEADERS.deb` builds a program against what
# these install. Wants root; 77 says that this machine does not allow it.
set -eu

skip() {
  echo "skipped: $1"
  exit 77
}

step() { echo "== $1"; }

# Starts what the unit starts, as the user that it names; runs "$@" once it serves; stops it.
while_served() {
  local unit=/lib/systemd/system/kyrodb.service command pid
  : >/tmp/server.log
  local -a settings
  command=$(sed -n 's/^ExecStart=//p' "$unit")
  mapfile -t settings < <(sed -n 's/^Environment=//p' "$unit" && grep -v '^#' /etc/default/kyrodb)
  # shellcheck disable=SC2086  # the words of a command
  setpriv --reuid "$(sed -n 's/^User=//p' "$unit")" --regid kyrodb --clear-groups \
    env "${settings[@]}" $command 2>>/tmp/server.log &
  pid=$!
  # Ends without the line if the server does.
  grep -q -m 1 '"event":"serving"' < <(tail --pid="$pid" --lines=+1 --follow /tmp/server.log) ||
    { cat /tmp/server.log && exit 1; }
  "$@"
  kill "$pid"
  wait "$pid"
}

check_value() { [ "$(kyrodbctl get 1)" = one ]; }
put_value() { kyrodbctl put 1 one && check_value && kyrodbctl status | grep -q '^state *ready$'; }

# What an installed package has beside its binary.
check_installed() {
  [ "$(stat -c '%U %G %a' /var/lib/kyrodb)" = "kyrodb kyrodb 700" ]
  [ -s /usr/share/man/man1/kyrodbctl.1.gz ]
  [ -L /etc/systemd/system/multi-user.target.wants/kyrodb.service ]
}

remove_and_purge() {
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

plain() {
  step "installation"
  dpkg -i /old.deb
  check_installed
  while_served put_value
  step "upgrade"
  echo KYRODB_FSYNC=interval:50 >>/etc/default/kyrodb
  dpkg -i /new.deb
  grep -q '^KYRODB_FSYNC=interval:50$' /etc/default/kyrodb
  while_served check_value
  remove_and_purge
}

# The process of the unit, which is active: systemctl start returns when the server serves.
main_pid() {
  systemctl is-active --quiet kyrodb && systemctl show --property MainPID --value kyrodb
}

booted() {
  local pid before
  rm -f /usr/sbin/policy-rc.d  # of machines whose packages shall start nothing
  step "installation"
  apt-get install -y -q --allow-downgrades /old.deb
  check_installed
  pid=$(main_pid)
  put_value
  step "reload"
  systemctl reload kyrodb
  [ "$(main_pid)" = "$pid" ] && check_value
  step "upgrade"
  apt-get install -y -q /new.deb
  [ "$(main_pid)" != "$pid" ]
  check_value
  [ "$(dpkg-query -W -f '${Version}' kyrodb)" = 9.8.8 ]
  step "kill"
  pid=$(main_pid)
  before=$(journalctl --unit kyrodb --lines 1 --show-cursor | sed -n 's/^-- cursor: //p')
  systemctl kill --signal KILL kyrodb
  grep -q -m 1 '"event":"serving"' < <(
    journalctl --unit kyrodb --output cat --follow --lines all --after-cursor "$before"
  )
  check_value
  [ "$(main_pid)" != "$pid" ]
  remove_and_purge
}

# A program with a store inside is built, and goes on without what it was built with.
developer() {
  step "installation"
  dpkg -i /old.deb /new.deb
  ldconfig -p | grep -q 'libkyrodb\.so\.0 '
  step "a program"
  local -a flags
  read -ra flags < <(pkg-config --cflags --libs kyrodb)
  g++ /embed.cpp "${flags[@]}" -o /tmp/embed
  step "removal of the headers"
  dpkg -r kyrodb-dev
  [ ! -e /usr/include/kyro ] && [ ! -e /usr/lib/libkyrodb.so ]
  (cd /tmp && ./embed data)
  step "removal of the library"
  dpkg -r libkyrodb0
  [ ! -e /usr/lib/libkyrodb.so.0 ]
  step "done"
}

export DEBIAN_FRONTEND=noninteractive LC_ALL=C.UTF-8 PATH=/usr/sbin:/usr/bin:/sbin:/bin

build_root() {
  local memory=/mnt
  root=$memory/root
  mount -t tmpfs tmpfs "$memory" || skip "no tmpfs"
  mkdir "$memory/upper" "$memory/work" "$root"
  mount -t overlay overlay "$root" \
    -o "lowerdir=/,upperdir=$memory/upper,workdir=$memory/work" || skip "no overlay"
  cp "$1" "$root/old.deb"
  cp "$2" "$root/new.deb"
  cp "$0" "$root/on_overlay.sh"
  cp scripts/examples/embed/embed.cpp "$root/"
  mount --rbind /dev "$root/dev"
  mount -t proc proc "$root/proc"
  mount -t tmpfs tmpfs "$root/tmp"
  mount -t tmpfs tmpfs "$root/run"
  ip link set lo up || skip "no loopback"
}

# systemd as in a container, with nothing to start but what the test is. Its exit status is that of
# the test, which it gets from the service.
boot() {
  mount -t sysfs -o ro sysfs "$root/sys" || skip "no sysfs"
  mount -t cgroup2 cgroup2 "$root/sys/fs/cgroup" || skip "no control groups"
  mkdir "$root/result"
  mount --bind "$RESULT" "$root/result"
  cat >"$root/etc/systemd/system/package-test.service" <<'UNIT'
[Unit]
After=basic.target
Requires=basic.target
SuccessAction=exit
FailureAction=exit
[Service]
Type=oneshot
ExecStart=/bin/bash /on_overlay.sh in_booted
StandardOutput=file:/result/out
StandardError=file:/result/out
UNIT
  # Not in a chroot: none there may have a user namespace, which the unit asks for.
  mkdir "$root/machine"
  cd "$root"
  pivot_root . machine
  umount --lazy /machine
  exec env container=package-test /lib/systemd/systemd \
    --unit=package-test.service --log-target=null
}

case $1 in
  in_plain) plain ;;
  in_developer) developer ;;
  in_booted) booted ;;
  root)
    build_root "$3" "$4"
    [ "$2" != booted ] || boot
    exec chroot "$root" /bin/bash /on_overlay.sh "in_$2"
    ;;
  *)
    for tool in unshare setpriv ip dpkg adduser; do
      command -v "$tool" >/dev/null || skip "$tool is not installed"
    done
    [ "$1" != booted ] || [ -x /lib/systemd/systemd ] || skip "systemd is not installed"
    [ "$1" != developer ] || command -v pkg-config >/dev/null || skip "pkg-config is not installed"
    spaces=(--mount --pid --net --uts --ipc --cgroup --fork)
    unshare "${spaces[@]}" true 2>/dev/null || skip "no namespaces"
    RESULT=$(mktemp -d)
    export RESULT
    trap 'rm -rf "$RESULT"' EXIT
    unshare "${spaces[@]}" "$0" root "$@" && status=0 || status=$?
    cat "$RESULT/out" 2>/dev/null || true
    exit "$status"
    ;;
esac
