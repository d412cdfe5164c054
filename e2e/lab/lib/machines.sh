# shellcheck shell=bash
# What machines are made of: QEMU, User Mode Linux, Debian's kernels, and a Debian root file system per architecture.
# Nothing runs under emulation here, and nothing is installed on the host.

# What a plain server has, and what kubeadm expects of one. No container runtime, nothing of Kubernetes.
MACHINE_PACKAGES=(systemd systemd-sysv dbus udev kmod openssh-server sudo iproute2 iputils-ping iptables nftables ipset ethtool
  conntrack socat ebtables ca-certificates netbase procps mount util-linux e2fsprogs zstd xz-utils less libseccomp2 curl)
# Services that an emulated machine should not spend cycles on; set-up of the network is lab-setup's.
MASKED=(apt-daily.timer apt-daily-upgrade.timer dpkg-db-backup.timer e2scrub_all.timer e2scrub_reap.service fstrim.timer
  getty@tty1.service serial-getty@.service systemd-pstore.service systemd-binfmt.service systemd-hwdb-update.service ldconfig.service
  systemd-update-utmp.service systemd-journal-flush.service systemd-firstboot.service sys-kernel-debug.mount sys-kernel-tracing.mount
  dev-hugepages.mount nftables.service ebtables.service systemd-networkd.service systemd-networkd.socket
  systemd-network-generator.service systemd-machine-id-commit.service)
NO_DOCS=(--exclude='./usr/share/doc/*' --exclude='./usr/share/man/*' --exclude='./usr/share/locale/*' --exclude='./usr/share/info/*')

# make_qemu: QEMU for both architectures with its libraries beside it, run through its own loader: qemu ARCH ARGUMENT…
make_qemu() {
  local out=$1 deb
  mkdir -p "$out/root" "$out/debs/partial"
  apt-get -q -y -t "$QEMU_SUITE" -d -o "Dir::Cache::archives=$out/debs" install "qemu-system-arm:$HOST_ARCH" "qemu-system-x86:$HOST_ARCH"
  for deb in "$out"/debs/*.deb; do unpack "$deb" "$out/root" "${NO_DOCS[@]}"; done
  debs_versions "$out/debs" >"$out/versions"
  rm -rf "$out/debs"
  cat >"$out/qemu" <<R
#!/bin/sh
root=\$(dirname "\$(readlink -f "\$0")")/root
lib=\$root/usr/lib/$(triplet "$HOST_ARCH")
case \$1 in amd64) system=qemu-system-x86_64 ;; *) system=qemu-system-aarch64 ;; esac
shift
QEMU_MODULE_DIR=\$lib/qemu exec "\$lib/$(loader "$HOST_ARCH")" --library-path "\$lib" "\$root/usr/bin/\$system" \
  -L "\$root/usr/share/qemu" -L "\$root/usr/share/seabios" "\$@"
R
  chmod +x "$out/qemu"
  "$out/qemu" amd64 --version
  "$out/qemu" arm64 --version
}

# make_uml: the kernel that is a program, and its modules.
make_uml() {
  local out=$1
  fetch_debs "$out/debs" "user-mode-linux:amd64/$UML_SUITE"
  mkdir "$out/root"
  unpack "$out"/debs/user-mode-linux_*.deb "$out/root"
  debs_versions "$out/debs" >"$out/versions"
  mv "$out/root/usr/bin/linux.uml" "$out/linux"
  mkdir -p "$out/tree/lib"
  mv "$out/root/usr/lib/uml/modules" "$out/tree/lib/modules"
  rm -rf "$out/root" "$out/debs"
  depmod -b "$out/tree" "$(ls "$out/tree/lib/modules")"
}

# Debian's kernels: for x86 the one for clouds, for Arm the one with 16K pages.
kernel_package() { case $1 in amd64) echo linux-image-cloud-amd64 ;; *) echo linux-image-arm64-16k ;; esac; }

# make_kernel OUT ARCH: Debian's kernel, the modules a node can use, an initramfs that finds the disk, and one that takes the time of
# what a way to run machines is judged by (see ways.sh).
make_kernel() {
  local out=$1 arch=$2 image version tree=$1/tree
  image=$(apt-cache depends "$(kernel_package "$arch"):$arch/$SUITE" | awk -v arch=":$arch" '/Depends: linux-image/ { sub(arch, "", $2); print $2; exit }')
  fetch_debs "$out/debs" "$image:$arch/$SUITE" "busybox-static:$arch/$SUITE"
  mkdir -p "$tree/usr/lib"
  ln -s usr/lib "$tree/lib" # this host's depmod and modprobe look in lib/modules only
  unpack "$out/debs/${image}"_*_"$arch".deb "$tree" "${NO_DOCS[@]}"
  debs_versions "$out/debs" >"$out/versions"
  version=$(ls "$tree/lib/modules")
  (
    cd "$tree/lib/modules/$version/kernel" || exit
    rm -rf sound drivers/{gpu,media,iio,usb,staging,infiniband,isdn,hwmon,input,mmc,mtd,leds,power,regulator,clk,pinctrl,spi,i2c,gpio,phy,soc,bluetooth,nfc,extcon,mfd,video,platform,remoteproc,interconnect,edac,watchdog,rtc,thermal,pwm,accel,comedi,w1,tty,ata,scsi} \
      drivers/net/{wireless,ethernet,usb,phy,can,ieee802154,wwan} net/{wireless,mac80211,bluetooth,can,nfc,mac802154}
  )
  depmod -b "$tree" "$version"
  initramfs "$out" "$version"
  mv "$tree/boot/vmlinuz-$version" "$out/vmlinuz"
  find "$tree/boot" -type f ! -name 'config-*' -delete
  rm -rf "$out/debs"
}
make_kernel_amd64() { make_kernel "$1" amd64; }
make_kernel_arm64() { make_kernel "$1" arm64; }

# initramfs OUT VERSION: one for machines, one for trials.
initramfs() {
  local out=$1 version=$2 dir=$1/initramfs file name module
  mkdir -p "$dir"/{bin,dev,proc,root,modules,unpacked}
  unpack "$out"/debs/busybox-static_*.deb "$dir/unpacked"
  find "$dir/unpacked" -name busybox -type f -exec mv {} "$dir/bin/" \;
  rm -rf "$dir/unpacked"
  install -m 755 "$LAB_HOME/files/trial-init" "$dir/init"
  (cd "$dir" && find . | cpio --quiet -o -H newc) >"$out/trial.cpio"
  for module in virtio_mmio virtio_pci virtio_blk ext4 virtio_net crc32c_generic; do
    modprobe -S "$version" -d "$out/tree" --show-depends "$module" || true # built in, or not there
  done | awk '$1 == "insmod" && !seen[$2]++ { print $2 }' >"$out/modules"
  while read -r file; do
    name=$(basename "$file")
    case $name in
    *.xz) xz -dc "$file" >"$dir/modules/${name%.xz}" && name=${name%.xz} ;;
    *) cp "$file" "$dir/modules/" ;;
    esac
    echo "$name" >>"$dir/list"
  done <"$out/modules"
  install -m 755 "$LAB_HOME/files/initramfs-init" "$dir/init"
  (cd "$dir" && find . | cpio --quiet -o -H newc) >"$out/initramfs.cpio"
  rm -rf "$dir" "$out/modules"
}

# make_tree_native: an ordinary bootstrap of this host's architecture.
make_tree_native() {
  local out=$1 include
  include=$(IFS=,; echo "${MACHINE_PACKAGES[*]}")
  APT_CONFIG='' mmdebstrap --mode=root --variant=minbase --architectures="$HOST_ARCH" --include="$include" \
    --aptopt='APT::Install-Recommends "false"' --aptopt='APT::Sandbox::User "root"' --dpkgopt=force-unsafe-io \
    --dpkgopt='path-exclude=/usr/share/doc/*' --dpkgopt='path-exclude=/usr/share/man/*' \
    --dpkgopt='path-exclude=/usr/share/locale/*' --dpkgopt='path-exclude=/usr/share/info/*' \
    --keyring="$KEYRING" "$SUITE" "$out/root" "deb $(APT_CONFIG='' mirror) $SUITE main"
  # shellcheck disable=SC2016 # dpkg-query's own format
  dpkg-query --root="$out/root" -W -f '${Package} ${Version} ${Architecture}\n' >"$out/versions"
}

# make_tree_foreign OUT ARCH: this host's configured tree is the template (users, enabled units, alternatives and links are the same on
# every architecture); the same packages' payload of the other architecture is laid over it and dpkg's database is written to match.
make_tree_foreign() {
  local out=$1 to=$2 template root=$1/root package arch specs=()
  template=$(path "tree-$HOST_ARCH")
  while read -r package _ arch; do # the suite, not the version: a rebuild's number (+b1) differs between architectures
    if [ "$arch" = all ]; then specs+=("$package/$SUITE"); else specs+=("$package:$to/$SUITE"); fi
  done <"$template/versions"
  fetch_debs "$out/debs" "${specs[@]}"
  cp -a "$template/root" "$root"
  strip_payload "$root" "$template/versions"
  rm -rf "$root/var/lib/dpkg/info"
  mkdir "$root/var/lib/dpkg/info"
  echo 1 >"$root/var/lib/dpkg/info/format"
  while read -r package _; do
    lay_over "$root" "$(ls "$out/debs/${package}"_*.deb)" "$to" >>"$out/status"
  done <"$template/versions"
  mv "$out/status" "$root/var/lib/dpkg/status"
  echo "$to" >"$root/var/lib/dpkg/arch"
  rm -f "$root/var/lib/dpkg/status-old"
  find "$root" -xdev -type l -lname "*$(triplet "$HOST_ARCH")*" -delete
  debs_versions "$out/debs" >"$out/versions"
  rm -rf "$out/debs"
}
make_tree_amd64() { make_tree_foreign "$1" amd64; }
make_tree_arm64() { make_tree_foreign "$1" arm64; }

# strip_payload ROOT PACKAGES: takes the executables and libraries of architecture-bound packages out.
strip_payload() {
  local root=$1 package arch list
  rm -rf "${root:?}/usr/lib/$(triplet "$HOST_ARCH")" "${root:?}"/usr/lib64 "${root:?}"/lib64 "$root"/var/cache/ldconfig "$root"/etc/ld.so.cache
  while read -r package _ arch; do
    [ "$arch" != all ] || continue
    for list in "$root/var/lib/dpkg/info/$package.list" "$root/var/lib/dpkg/info/$package:$HOST_ARCH.list"; do
      [ ! -e "$list" ] || cat "$list"
    done
  done <"$2" | { grep -E '^/usr/(s?bin|lib|libexec)/' || true; } | while read -r file; do
    if [ -f "$root$file" ] && [ ! -L "$root$file" ]; then rm -f "$root$file"; fi
  done
}

# lay_over ROOT DEB ARCH: unpacks what is not there, fills dpkg's info folder, and prints the status paragraph.
lay_over() {
  local root=$1 deb=$2 arch=$3 control name file conffile
  unpack "$deb" "$root" --skip-old-files "${NO_DOCS[@]}"
  control=$(mktemp -d)
  dpkg-deb -e "$deb" "$control"
  name=$(dpkg-deb -f "$deb" Package)
  ! grep -q '^Multi-Arch: same' "$control/control" || name=$name:$arch
  for file in "$control"/*; do
    [ "$(basename "$file")" = control ] || cp "$file" "$root/var/lib/dpkg/info/$name.$(basename "$file")"
  done
  dpkg-deb --fsys-tarfile "$deb" | tar -t | sed 's,^\.,,; s,/$,,; s,^$,/.,' >"$root/var/lib/dpkg/info/$name.list"
  sed '0,/^Version:/s//Status: install ok installed\n&/' "$control/control"
  if [ -s "$control/conffiles" ]; then
    echo Conffiles:
    while read -r conffile; do
      case $conffile in /*) [ ! -f "$root$conffile" ] || echo " $conffile $(md5sum <"$root$conffile" | cut -d' ' -f1)" ;; esac
    done <"$control/conffiles"
  fi
  echo
  rm -rf "$control"
}

make_disk_amd64() { make_disk "$1" amd64; }
make_disk_arm64() { make_disk "$1" arm64; }

# make_disk OUT ARCH: an ext4 image of a plain Debian machine with the lab's key, without identity: name, address, SSH host key
# and machine-id come later.
make_disk() {
  local out=$1 arch=$2 root=$1/root
  cp -a "$(path "tree-$arch")/root" "$root"
  cp -a "$(path "kernel-$arch")/tree/usr/lib/modules" "$root/usr/lib/"
  cp "$(path "kernel-$arch")"/tree/boot/config-* "$root/boot/" # what kubeadm's system verification reads
  ! has_uml "$arch" || cp -a "$(path uml)/tree/lib/modules/." "$root/usr/lib/modules/" # the same disk serves both ways
  customise "$root"
  truncate -s 8G "$out/disk"
  # the two features are what an older kernel's ext4 does without
  mke2fs -q -F -t ext4 -O '^metadata_csum,^64bit' -E lazy_itable_init=1,lazy_journal_init=1,nodiscard -m 0 -d "$root" "$out/disk"
  rm -rf "$root"
}

# customise ROOT
customise() {
  local root=$1 etc=$1/etc unit
  install -d -m 700 "$root/root/.ssh"
  install -m 600 "$KEYS/id.pub" "$root/root/.ssh/authorized_keys"
  echo 'debian:x:1000:1000::/home/debian:/bin/bash' >>"$etc/passwd"
  echo 'debian:x:1000:' >>"$etc/group"
  echo "debian:$(cat "$KEYS/sudo-password.hash"):20000:0:99999:7:::" >>"$etc/shadow"
  install -d -m 700 -o 1000 -g 1000 "$root/home/debian" "$root/home/debian/.ssh"
  install -m 600 -o 1000 -g 1000 "$KEYS/id.pub" "$root/home/debian/.ssh/authorized_keys"
  echo 'debian ALL=(ALL:ALL) ALL' >"$etc/sudoers.d/debian"
  chmod 440 "$etc/sudoers.d/debian"

  rm -f "$etc"/ssh/ssh_host_*
  printf '%s\n' 'UseDNS no' 'UsePAM no' 'PermitRootLogin prohibit-password' 'PasswordAuthentication no' >"$etc/ssh/sshd_config.d/lab.conf"
  ln -sfn /usr/lib/systemd/system/ssh.service "$etc/systemd/system/multi-user.target.wants/ssh.service"
  install -m 755 "$LAB_HOME/files/lab-setup" "$root/usr/local/sbin/lab-setup"
  install -m 644 "$LAB_HOME/files/lab-setup.service" "$etc/systemd/system/lab-setup.service"
  mkdir -p "$etc/systemd/system/sysinit.target.wants"
  ln -sfn ../lab-setup.service "$etc/systemd/system/sysinit.target.wants/lab-setup.service"
  for unit in "${MASKED[@]}"; do ln -sfn /dev/null "$etc/systemd/system/$unit"; done

  mkdir -p "$etc/systemd/journald.conf.d" "$etc/systemd/system.conf.d"
  printf '%s\n' '[Journal]' Storage=volatile RuntimeMaxUse=32M ReadKMsg=no Audit=no RateLimitBurst=0 >"$etc/systemd/journald.conf.d/lab.conf"
  printf '%s\n' '[Manager]' DefaultTimeoutStartSec=300 StatusUnitFormat=name >"$etc/systemd/system.conf.d/lab.conf"
  : >"$etc/fstab"
  rm -f "$etc/resolv.conf"
  echo 'nameserver 10.99.0.1' >"$etc/resolv.conf" # no one answers there: names fail at once
  rm -f "$etc/machine-id" "$root/var/lib/dbus/machine-id"
  : >"$etc/machine-id" # the first boot writes one
  mkdir -p "$etc/lab"
}
