#!/usr/bin/env bash
# An environment for each peer below the folder named, 8 GB, seven minutes:
#
#   tests/benchmarks/throughput/install.sh PEERS
#
# All have the same Pillow. PEERS/pillow is that Pillow alone: the runner lays it over headrace's own
# environment, whose Pillow is pillow-simd. Data-Juicer hashes images with imagededup, which imports
# torch and torchvision; img2dataset has no perceptual hash and gets pdqhash beside it.
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
make img2dataset img2dataset==1.47 pdqhash==0.2.8
make daft daft==0.7.26 pdqhash==0.2.8 webdataset==1.0.2
make raydata "ray[data]==2.60.0" pdqhash==0.2.8 webdataset==1.0.2
make datajuicer py-data-juicer==1.6.1 aiohttp webdataset==1.0.2 \
    imagededup==0.3.3.post2 torch==2.14.1 torchvision==0.29.1
