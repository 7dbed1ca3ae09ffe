# The training image: `headrace train`, torchrun on many nodes, or the ranks of a Ray cluster.
#   docker build -f docker/trainer.Dockerfile -t headrace-trainer:0.1.0 .
FROM python:3.11.15-slim-bookworm@sha256:d29f48a31a8b408ed19272ca1e7b10ebae13b240a27e862d3d4217c528e2e0c3 AS build
# Debian keeps one version of a package in a release; a pin would break with the next repair.
# hadolint ignore=DL3008
RUN apt-get update -qq && apt-get install -qq -y --no-install-recommends build-essential \
    && rm -rf /var/lib/apt/lists/*
WORKDIR /opt/headrace
COPY . .
# Machines with GPUs have AVX2; the building machine must, too. Else sse4, or 0 for Pillow's wheel.
ARG HEADRACE_SIMD=avx2
# The set-up never fails for want of pillow-simd; an image that was to have it does.
RUN HEADRACE_EXTRAS='' PIP_NO_CACHE_DIR=1 scripts/setup.sh \
    && { [ "$HEADRACE_SIMD" = 0 ] || [ -s .venv/.simd ]; }

FROM python:3.11.15-slim-bookworm@sha256:d29f48a31a8b408ed19272ca1e7b10ebae13b240a27e862d3d4217c528e2e0c3
# What pillow-simd links to; gcc is what torch.compile calls; procps and wget are for Ray.
# hadolint ignore=DL3008
RUN apt-get update -qq && apt-get install -qq -y --no-install-recommends \
    libjpeg62-turbo libwebp7 libwebpmux3 libwebpdemux2 libtiff6 libopenjp2-7 liblcms2-2 \
    libfreetype6 gcc g++ libc6-dev procps wget \
    && rm -rf /var/lib/apt/lists/* \
    && useradd --create-home --uid 1000 headrace
# In the same place, since a virtual environment does not move; the user cannot write there.
COPY --from=build /opt/headrace /opt/headrace
ENV PATH=/opt/headrace/.venv/bin:$PATH PYTHONUNBUFFERED=1
RUN python /opt/headrace/scripts/check_pillow.py
USER 1000
WORKDIR /home/headrace
# CUDA comes with the torch wheel; the host gives the driver (--gpus all). NCCL and DataLoader
# workers use /dev/shm: give it --shm-size.
CMD ["headrace", "--help"]
