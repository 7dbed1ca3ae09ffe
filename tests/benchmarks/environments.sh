# The head of each install.sh, which sources it: the folder named, the Pillow of all, and `make`.
#
# PEERS/pillow is the Pillow of all by itself: the runners lay it over environments that have another.
set -euo pipefail
peers=${1:?name a folder: install.sh PEERS}
python=${PYTHON:-python3.11}
pillow=pillow==12.1.1
export PIP_DISABLE_PIP_VERSION_CHECK=1 PIP_ROOT_USER_ACTION=ignore
unset PYTHONPATH PIP_TARGET PIP_PREFIX PIP_USER

make() { # make NAME PACKAGE...: nothing where the same packages stand already
    local name=$1
    shift
    [ "$(cat "$peers/$name/.ready" 2>/dev/null)" = "$*" ] && return
    "$python" -m venv --clear "$peers/$name"
    "$peers/$name/bin/pip" install -q "$pillow" "$@"
    echo "$*" >"$peers/$name/.ready"
    echo "$peers/$name: $*"
}

mkdir -p "$peers"
[ -d "$peers/pillow/PIL" ] || "$python" -m pip install -q --no-deps --target "$peers/pillow" "$pillow"
