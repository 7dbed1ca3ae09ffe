#!/usr/bin/env bash
# An environment for each peer below the folder named, 8 GB, seven minutes:
#
#   tests/benchmarks/throughput/install.sh PEERS
#
# Data-Juicer hashes images with imagededup, which imports torch and torchvision; img2dataset has no
# perceptual hash and gets pdqhash beside it.
source "$(dirname "$0")/../environments.sh"

make img2dataset img2dataset==1.47 pdqhash==0.2.8
make daft daft==0.7.26 pdqhash==0.2.8 webdataset==1.0.2
make raydata "ray[data]==2.60.0" pdqhash==0.2.8 webdataset==1.0.2
make datajuicer py-data-juicer==1.6.1 aiohttp webdataset==1.0.2 \
    imagededup==0.3.3.post2 torch==2.14.1 torchvision==0.29.1
