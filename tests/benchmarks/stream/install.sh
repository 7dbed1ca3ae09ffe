#!/usr/bin/env bash
# An environment for each peer below the folder named, 10 GB, ten minutes:
#
#   tests/benchmarks/stream/install.sh PEERS
#
# torch for processors alone is a tenth of the size and loads the same batches; MosaicML's tool
# imports torchvision, which goes with the whole torch only.
source "$(dirname "$0")/../environments.sh"
cpu=${TORCH_CPU:-torch==2.13.0+cpu}

make webdataset "$cpu" webdataset==1.0.2
make litdata "$cpu" litdata==0.2.76
make dali nvidia-dali-cuda120==2.4.0 "numpy<2.5"
make mosaicml torch==2.14.1 torchvision==0.29.1 mosaicml-streaming==0.13.0
