#!/usr/bin/env bash
# An environment for each peer below the folder named, 10 GB, ten minutes:
#
#   tests/benchmarks/stream/install.sh PEERS
#
# PEERS/pillow is the Pillow of all: the runner lays it over every environment, headrace's own too.
# torch for processors alone is a tenth of the size and loads the same batches; MosaicML's tool
# imports torchvision, which goes with the whole torch only.
set -euo pipefail
peers=${1:?name a folder: install.sh PEERS}
python=${PYTHON:-python3.11}
pillow=pillow==12.1.1
cpu=${TORCH_CPU:-torch==2.13.0+cpu}
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
make webdataset "$cpu" webdataset==1.0.2
make litdata "$cpu" litdata==0.2.76
make dali nvidia-dali-cuda120==2.4.0 "numpy<2.5"
make mosaicml torch==2.14.1 torchvision==0.29.1 mosaicml-streaming==0.13.0
