# The curation image: `headrace` on Ray, for a head, a worker or a submitting job.
#   docker build -f docker/ray.Dockerfile -t headrace-ray:0.1.0 .
FROM python:3.11.15-slim-bookworm@sha256:d29f48a31a8b408ed19272ca1e7b10ebae13b240a27e862d3d4217c528e2e0c3 AS build
# Debian keeps one version of a package in a release; a pin would break with the next repair.
# hadolint ignore=DL3008
RUN apt-get update -qq && apt-get install -qq -y --no-install-recommends build-essential \
    && rm -rf /var/lib/apt/lists/*
WORKDIR /opt/headrace
COPY . .
# avx2 wants Haswell or Zen on every node and on the building machine, and nothing checks later;
# sse4 runs on every x86-64 processor; 0 takes Pillow's own wheel, on ARM too.
ARG HEADRACE_SIMD=avx2
# Extras of pyproject.toml: safety has models of nudity and faces.
ARG HEADRACE_EXTRAS=
# PyTorch's index of wheels for processors alone makes it 4 GB smaller; without it torch has CUDA.
ARG TORCH_INDEX=
# The set-up never fails for want of pillow-simd; an image that was to have it does.
RUN HEADRACE_EXTRAS="$HEADRACE_EXTRAS" PIP_EXTRA_INDEX_URL="$TORCH_INDEX" PIP_NO_CACHE_DIR=1 \
    scripts/setup.sh \
    && { [ "$HEADRACE_SIMD" = 0 ] || [ -s .venv/.simd ]; }

FROM python:3.11.15-slim-bookworm@sha256:d29f48a31a8b408ed19272ca1e7b10ebae13b240a27e862d3d4217c528e2e0c3
# What pillow-simd links to; procps and wget are for Ray and for health checks.
# hadolint ignore=DL3008
RUN apt-get update -qq && apt-get install -qq -y --no-install-recommends \
    libjpeg62-turbo libwebp7 libwebpmux3 libwebpdemux2 libtiff6 libopenjp2-7 liblcms2-2 \
    libfreetype6 procps wget \
    && rm -rf /var/lib/apt/lists/* \
    && useradd --create-home --uid 1000 headrace
# In the same place, since a virtual environment does not move; the user cannot write there.
COPY --from=build /opt/headrace /opt/headrace
ENV PATH=/opt/headrace/.venv/bin:$PATH PYTHONUNBUFFERED=1
RUN python /opt/headrace/scripts/check_pillow.py
USER 1000
WORKDIR /home/headrace
# Ray's object store is in /dev/shm: give it --shm-size.
CMD ["headrace", "--help"]
