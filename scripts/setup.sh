#!/usr/bin/env bash
# Makes the environment that headrace runs in; `make` calls it, and so do the images in docker/.
#
#   VENV=.venv             where to make it
#   PYTHON=                the Python to make it from (default: see find_python.sh)
#   HEADRACE_EXTRAS=dev    extras of pyproject.toml to install; empty for none
#   HEADRACE_SIMD=auto     pillow-simd: auto, avx2, sse4, or 0 for Pillow's own wheel
#
# A set-up that was interrupted leaves VENV/.setting-up behind and is begun anew; one that ended
# leaves VENV/.ready, and a later call only brings it up to date. Packages come from wherever pip
# is configured to look. pillow-simd is worth having and never worth failing for: it is built and
# checked aside, and takes the place of Pillow only if it is sound.
set -euo pipefail
cd "$(dirname "${BASH_SOURCE[0]}")/.."
unset PYTHONPATH PYTHONHOME PIP_TARGET PIP_PREFIX PIP_USER

VENV=${VENV:-.venv}
EXTRAS=${HEADRACE_EXTRAS-dev}
SIMD=${HEADRACE_SIMD:-auto}
py=$VENV/bin/python
export PIP_DISABLE_PIP_VERSION_CHECK=1 PIP_NO_INPUT=1 PIP_ROOT_USER_ACTION=ignore

tmp=$(mktemp -d)
trap 'rm -rf "$tmp"' EXIT
trap 'exit 130' INT TERM

pin() { # the version that constraints.txt gives to a package
    sed -n "s/^$1==//p" constraints.txt
}

step() { # step WORDS COMMAND...: one line with the seconds it took; its output only if it fails
    local words=$1 began=$SECONDS
    shift
    printf '  %s ... ' "$words"
    if "$@" >"$tmp/log" 2>&1; then
        printf '%d s\n' $((SECONDS - began))
    else
        printf 'failed after %d s:\n' $((SECONDS - began))
        cat "$tmp/log"
        rm -f "$VENV/.setting-up" # nothing is half done: pip undoes what it could not finish
        return 1
    fi
}

begin() {
    local owner
    if [ -e "$VENV/.setting-up" ]; then
        owner=$(cat "$VENV/.setting-up")
        if [ -n "$owner" ] && kill -0 "$owner" 2>/dev/null; then
            echo "Another set-up of $VENV is running (process $owner). If not: rm -r $VENV" >&2
            exit 1
        fi
        echo "  the last set-up was interrupted; beginning anew"
        rm -rf "$VENV"
    fi
    rm -f "$VENV/.ready"
    mkdir -p "$VENV"
    echo $$ >"$VENV/.setting-up"
}

make_venv() {
    # A venv of another Python (or of one that was removed) cannot be brought up to date.
    if [ -e "$py" ] && PYTHON=$py scripts/find_python.sh && "$py" -m pip --version; then
        return
    fi
    "$python" -m venv --clear "$VENV" && echo $$ >"$VENV/.setting-up"
}

install_packages() {
    "$py" -m pip install -c constraints.txt -e ".${EXTRAS:+[$EXTRAS]}"
}

# --- the image library -------------------------------------------------------------------------

missing_headers() { # Debian packages still to be installed before pillow-simd can be built
    local name jpeg=libjpeg62-turbo-dev
    if grep -q '^ID.*ubuntu' /etc/os-release; then jpeg=libjpeg-turbo8-dev; fi
    for name in $jpeg zlib1g-dev libwebp-dev libtiff-dev libopenjp2-7-dev liblcms2-dev \
        libfreetype-dev; do
        dpkg-query -W -f '${db:Status-Status}' "$name" 2>/dev/null | grep -qx installed ||
            printf '%s ' "$name"
    done
    "$py" -c 'import os, sys, sysconfig
if not os.path.exists(os.path.join(sysconfig.get_path("include"), "Python.h")):
    print("python%d.%d-dev" % sys.version_info[:2])'
}

install_headers() {
    local packages
    [ -e /etc/debian_version ] || return 0 # elsewhere the check of the result tells
    packages=$(missing_headers)
    [ -n "$packages" ] || return 0
    if [ "$(id -u)" != 0 ]; then
        reason="headers are missing; as root: apt-get install $packages"
        return 1
    fi
    export DEBIAN_FRONTEND=noninteractive
    # shellcheck disable=SC2086  # a list of names
    if ! { apt-get update -qq && apt-get install -qq -y --no-install-recommends \
        -o DPkg::Lock::Timeout=120 $packages; } </dev/null >"$tmp/apt.log" 2>&1; then
        reason="apt-get could not install $packages"
        return 1
    fi
}

compiler() { # the C compiler, with AVX2 where the processor has it (nothing checks at run time)
    local flags=
    case $SIMD in
    avx2) flags=-mavx2 ;;
    auto) if grep -qw avx2 /proc/cpuinfo 2>/dev/null; then flags=-mavx2; fi ;;
    esac
    echo "${CC:-cc}${flags:+ $flags}"
}

build_simd() { # leaves its wheel in $tmp/wheels, and a copy laid out in $tmp/stage
    rm -rf "$tmp/wheels" "$tmp/stage"
    # pip's cache of wheels does not look at CC.
    CC=$(compiler) "$py" -m pip wheel --no-cache-dir --no-binary pillow-simd --no-deps \
        -w "$tmp/wheels" "pillow-simd==$simd_version" </dev/null >"$tmp/build.log" 2>&1 &&
        "$py" -m zipfile -e "$tmp"/wheels/pillow_simd-*.whl "$tmp/stage"
}

build_shim() {
    # What asks for `pillow` must find it installed, or the next pip install puts Pillow's files
    # over pillow-simd's. The local part (+simd) keeps it ahead of the wheel of the same version.
    mkdir -p "$tmp/shim"
    cat >"$tmp/shim/pyproject.toml" <<TOML
[build-system]
requires = ["setuptools>=77"]
build-backend = "setuptools.build_meta"
[project]
name = "pillow"
version = "$pillow_version+simd"
description = "Stands in for Pillow where pillow-simd provides its modules; has none itself."
dependencies = ["pillow-simd==$simd_version"]
[tool.setuptools]
packages = []
py-modules = []
TOML
    "$py" -m pip wheel --no-cache-dir --no-deps -w "$tmp/wheels" "$tmp/shim" \
        >"$tmp/build.log" 2>&1
}

replace_pillow() { # replace_pillow WHAT...: these in place of whatever provides PIL now
    "$py" -m pip uninstall -q -y pillow pillow-simd && "$py" -m pip install -q --no-deps "$@"
}

check() { # check VERSION: in a fresh interpreter; the first line of what is wrong, or nothing
    local said code=0
    said=$("$py" scripts/check_pillow.py "$1" 2>&1) || code=$?
    [ "$code" = 0 ] || printf '%s\n' "${said:-it ended with code $code}" | tail -n 1
}

simd_in_place() {
    [ "$("$py" -c 'from importlib.metadata import version as v; print(v("pillow"), v("pillow-simd"))' \
        2>/dev/null)" = "$pillow_version+simd $simd_version" ] &&
        [ "$(cat "$VENV/.simd" 2>/dev/null)" = "$(compiler)" ] &&
        [ -z "$(check "$simd_version")" ]
}

install_simd() { # true if pillow-simd is what `import PIL` finds; else says why in $reason
    local wrong
    if [ "$SIMD" = 0 ]; then reason="HEADRACE_SIMD=0"; return 1; fi
    case $(uname -m) in
    x86_64 | amd64) ;;
    *) reason="pillow-simd is for x86-64, this is $(uname -m)"; return 1 ;;
    esac
    if simd_in_place; then return; fi
    if ! command -v "${CC:-cc}" >/dev/null; then
        reason="no C compiler (${CC:-cc})"
        return 1
    fi
    install_headers || return 1
    if ! build_simd || ! build_shim; then
        cp "$tmp/build.log" "$VENV/pillow-simd.log"
        reason="it did not build, see $VENV/pillow-simd.log"
        return 1
    fi
    wrong=$(PYTHONPATH=$tmp/stage check "$simd_version")
    if [ -n "$wrong" ]; then reason=$wrong; return 1; fi
    rm -f "$VENV/.simd"
    if ! replace_pillow --no-index "$tmp"/wheels/*.whl >"$tmp/build.log" 2>&1; then
        reason="pip could not install it"
        return 1
    fi
    wrong=$(check "$simd_version")
    if [ -n "$wrong" ]; then reason=$wrong; return 1; fi
    compiler >"$VENV/.simd"
}

restore_pillow() {
    rm -f "$VENV/.simd"
    if [ -n "$(check "$pillow_version")" ] ||
        "$py" -m pip show -q pillow-simd 2>/dev/null; then
        replace_pillow "pillow==$pillow_version"
    fi
}

image_library() {
    local began=$SECONDS reason=
    pillow_version=$(pin pillow) simd_version=$(pin pillow-simd)
    printf '  image library ... '
    if install_simd; then
        printf 'pillow-simd %s (%s), %d s\n' "$simd_version" "$(compiler)" $((SECONDS - began))
        return
    fi
    if ! restore_pillow >"$tmp/log" 2>&1; then
        printf 'failed:\n'
        cat "$tmp/log"
        return 1
    fi
    printf 'Pillow %s, %d s; slower than pillow-simd, which was left out: %s\n' \
        "$pillow_version" $((SECONDS - began)) "$reason"
}

# -----------------------------------------------------------------------------------------------

python=$(scripts/find_python.sh)
echo "Setting up headrace in $VENV (the first time: some minutes, 7 GB)"
begin
step "environment of $("$python" -V) at $python" make_venv
step "packages" install_packages
image_library
step "check: the image library works" "$py" scripts/check_pillow.py
step "check: no package lacks another" "$py" -m pip check
mv "$VENV/.setting-up" "$VENV/.ready"
touch "$VENV/.ready"
echo "Ready in $SECONDS s"
