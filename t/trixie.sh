#!/bin/bash
# Builds and tests, without what needs packages from npm, on another Debian:
# a whole one, put below build/ by debootstrap.
#
#     t/trixie.sh                 make, unit tests, fuzz seeds, nginx tests
#     t/trixie.sh COMMAND…        COMMAND instead, in the copy of the tree
#
# SUITE     trixie                which Debian
# MIRROR    this machine's own    where from
# ROOTFS    build/$SUITE          where to; the copy is ROOTFS/src
# PACKAGES  from the Makefile     what the build needs
#
# It needs root.  Mounts and processes live in namespaces of their own, which
# end with it, however it ends.

set -eu

cd "$(dirname "$0")/.."

SUITE=${SUITE:-trixie}
ROOTFS=${ROOTFS:-$PWD/build/$SUITE}

if [ "$(id -u)" != 0 ]; then
    echo "t/trixie.sh: debootstrap and chroot need root"
    exit 1
fi

for tool in debootstrap unshare; do
    command -v $tool > /dev/null || { echo "no $tool: make deb-deps"; exit 1; }
done


# the first archive that this machine takes its own Debian from

mirror() {
    apt-get indextargets --format '$(REPO_URI) $(ORIGIN) $(CODENAME)' \
        'Created-By: Packages' \
        | awk '$2 == "Debian" && $3 !~ /-/ { print $1; exit }'
}


if [ ! -e "$ROOTFS/.whole" ]; then
    MIRROR=${MIRROR:-$(mirror)}
    [ -n "$MIRROR" ] || { echo "no mirror to be found: set MIRROR"; exit 1; }

    rm -rf --one-file-system "$ROOTFS"
    mkdir -p "$ROOTFS"
    echo "debootstrap $SUITE into $ROOTFS"
    debootstrap --variant=minbase "$SUITE" "$ROOTFS" "$MIRROR" \
        > "$ROOTFS.log" 2>&1 || { tail -n 20 "$ROOTFS.log"; exit 1; }

    # no package starts its service here
    printf '#!/bin/sh\nexit 101\n' > "$ROOTFS/usr/sbin/policy-rc.d"
    chmod 755 "$ROOTFS/usr/sbin/policy-rc.d"
    touch "$ROOTFS/.whole"
fi

for file in resolv.conf hosts; do
    [ ! -e /etc/$file ] || cp -L /etc/$file "$ROOTFS/etc/$file"
done


# the tree as it is now, next to what was built of it before

mkdir -p "$ROOTFS/src"
find "$ROOTFS/src" -mindepth 1 -maxdepth 1 ! -name build -exec rm -rf {} +
tar -c --exclude=./build --exclude=./.git --exclude=node_modules . \
    | tar -x --no-same-owner -C "$ROOTFS/src"


export ROOTFS PACKAGES="${PACKAGES:-}"

unshare --mount --pid --fork --kill-child --propagation private \
    bash -eus -- "${@:-}" <<'END'

mount -t proc proc "$ROOTFS/proc"
mount --rbind /dev "$ROOTFS/dev"

inside() {
    chroot "$ROOTFS" env -i PATH=/usr/sbin:/usr/bin:/sbin:/bin HOME=/root \
        LC_ALL=C.UTF-8 DEBIAN_FRONTEND=noninteractive \
        ${http_proxy:+http_proxy="$http_proxy"} \
        bash -euc "cd /src; $1" </dev/null
}

missing=
for package in $PACKAGES; do
    inside "dpkg-query -W -f '\${Status}' $package 2>/dev/null" \
        | grep -q 'ok installed' || missing="$missing $package"
done

if [ -n "$missing" ]; then
    echo "installing$missing"
    inside "apt-get update -q && apt-get install -q -y \
        --no-install-recommends $missing" > "$ROOTFS.apt.log" 2>&1 \
        || { tail -n 20 "$ROOTFS.apt.log"; exit 1; }
fi

if [ -n "$1" ]; then
    inside "$*"
    exit
fi

inside 'nginx -v 2>&1; pkg-config --modversion hiredis'
inside 'make module tokenctl'
inside 'make unit fuzz-replay && prove -It/lib t/nginx/*.t'

END
