#!/bin/bash
# Builds build/asan/nginx: the distribution's nginx with the module compiled
# in and everything sanitized.
#
#     t/asan.sh                     from the distribution's source package
#     NGINX_SOURCE=DIR t/asan.sh    from a source tree
#
# NGX_DEBUG_PALLOC gives every allocation of a pool its own malloc(), which is
# what lets the sanitizer see its ends.  --with-debug would change the
# module's code, so it stays out.  explicit_bzero(), which secrets are wiped
# with, is none that the sanitizer looks into: it is bzero() here.

set -eu

cd "$(dirname "$0")/.."
root=$PWD
dir=$root/build/asan
jobs=${JOBS:-2}

mkdir -p "$dir"


# apt with sources, lists and archives below build/: nothing in /etc changes

apt_options=(
    -o Dir::Etc::sourcelist=/dev/null
    -o Dir::Etc::sourceparts="$dir/apt/sources"
    -o Dir::State::lists="$dir/apt/lists"
    -o Dir::Cache="$dir/apt/cache"
    -o APT::Sandbox::User=root
    -o Debug::NoLocking=true
)

source_lists() {
    local file

    rm -rf "$dir/apt/sources"
    mkdir -p "$dir/apt/sources" "$dir/apt/lists/partial" \
        "$dir/apt/cache/archives/partial"

    if [ -s /etc/apt/sources.list ]; then
        sed -n 's/^deb /deb-src /p' /etc/apt/sources.list \
            > "$dir/apt/sources/sources.list"
    fi

    for file in /etc/apt/sources.list.d/*.list; do
        [ -e "$file" ] || continue
        sed -n 's/^deb /deb-src /p' "$file" \
            > "$dir/apt/sources/$(basename "$file")"
    done

    for file in /etc/apt/sources.list.d/*.sources; do
        [ -e "$file" ] || continue
        sed 's/^Types:.*/Types: deb-src/' "$file" \
            > "$dir/apt/sources/$(basename "$file")"
    done
}


# Source versions to try: the installed one, then the others of its upstream
# version, newest first.

versions() {
    local installed upstream

    installed=$(dpkg-query -W -f '${source:Version}' nginx)
    upstream=${installed%-*}

    echo "$installed"
    apt-cache "${apt_options[@]}" showsrc nginx 2>/dev/null \
        | sed -n 's/^Version: //p' | sort -Vru \
        | grep -F "$upstream-" | grep -vxF "$installed" || true
}


# leaves a tree in $dir/source, and says what it is in $dir/source.txt

get_source() {
    local version upstream said=

    if [ -n "${NGINX_SOURCE:-}" ]; then
        cp -R "$NGINX_SOURCE" "$dir/source"
        echo "$NGINX_SOURCE" > "$dir/source.txt"
        return
    fi

    source_lists
    apt-get "${apt_options[@]}" update -q > "$dir/apt.log" 2>&1 || true
    mkdir -p "$dir/download"
    cd "$dir/download"

    for version in $(versions); do
        if apt-get "${apt_options[@]}" source -q --download-only \
               "nginx=$version" >> "$dir/apt.log" 2>&1 \
           && dpkg-source --no-check -x "nginx_${version#*:}.dsc" \
               "$dir/source" >> "$dir/apt.log" 2>&1
        then
            echo "source package nginx $version" > "$dir/source.txt"
            cd "$root"
            return
        fi

        echo "nginx $version cannot be had whole, trying what comes next"
        rm -rf "$dir/source"
    done

    upstream=$(dpkg-query -W -f '${source:Version}' nginx)
    upstream=${upstream%-*}
    upstream=${upstream#*:}

    for said in nginx_"$upstream".orig.tar.*; do
        case $said in *.asc) continue;; esac
        [ -e "$said" ] || break
        mkdir "$dir/source"
        tar -xf "$said" -C "$dir/source" --strip-components 1
        echo "upstream tarball $said, without the distribution's patches" \
            > "$dir/source.txt"
        cd "$root"
        return
    done

    tail -n 20 "$dir/apt.log"
    echo "no source of nginx to be had; NGINX_SOURCE=DIR names a tree"
    exit 1
}


if [ ! -e "$dir/source.txt" ]; then
    rm -rf "$dir/source"
    get_source
fi
echo "nginx from $(cat "$dir/source.txt")"


# configure tries programs, which may leak

export ASAN_OPTIONS=detect_leaks=0

cd "$dir/source"

sanitize="-fsanitize=address,undefined"
if [ ! -e objs/Makefile ] || [ "$root/config" -nt objs/Makefile ] \
   || [ "$root/t/asan.sh" -nt objs/Makefile ]; then
    ./configure --prefix=/usr/share/nginx \
        --with-cc="${CC:-gcc}" \
        --with-cc-opt="-O1 -g -fno-omit-frame-pointer $sanitize \
                       -DNGX_DEBUG_PALLOC=1 -Dexplicit_bzero=bzero" \
        --with-ld-opt="$sanitize" \
        --with-compat --with-threads --with-pcre-jit \
        --with-http_ssl_module --with-http_v2_module \
        --with-http_realip_module --with-http_auth_request_module \
        --with-http_slice_module --with-http_sub_module \
        --with-http_addition_module --with-http_gunzip_module \
        --with-http_stub_status_module \
        --add-module="$root" > configure.log \
        || { tail -n 20 configure.log; exit 1; }
fi

make -j"$jobs" -f objs/Makefile binary > make.log 2>&1 \
    || { tail -n 40 make.log; exit 1; }
cp objs/nginx "$dir/nginx"
echo "built build/asan/nginx"
