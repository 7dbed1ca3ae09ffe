# The curation image: `headrace` on Ray, for a head, a worker or a submitting job.
#   docker build -f docker/ray.Dockerfile -t headrace-ray .
FROM python:3.11-slim-bookworm AS build
RUN apt-get update -qq && apt-get install -qq -y --no-install-recommends build-essential \
    && rm -rf /var/lib/apt/lists/*
WORKDIR /opt/headrace
COPY . .
# sse4 runs on every x86-64 processor of a mixed cluster; avx2 is faster and wants Haswell or Zen.
ARG HEADRACE_SIMD=sse4
RUN HEADRACE_EXTRAS= PIP_NO_CACHE_DIR=1 scripts/setup.sh

FROM python:3.11-slim-bookworm
# What pillow-simd links to; wget is what KubeRay's probes call.
RUN apt-get update -qq && apt-get install -qq -y --no-install-recommends \
    libjpeg62-turbo libwebp7 libwebpmux3 libwebpdemux2 libtiff6 libopenjp2-7 liblcms2-2 \
    libfreetype6 procps wget \
    && rm -rf /var/lib/apt/lists/* \
    && useradd --create-home --uid 1000 headrace
COPY --from=build /opt/headrace /opt/headrace
ENV PATH=/opt/headrace/.venv/bin:$PATH PYTHONUNBUFFERED=1
RUN python /opt/headrace/scripts/check_pillow.py
USER 1000
WORKDIR /home/headrace
# The object store is in /dev/shm: run with --shm-size=8g or more.
CMD ["headrace", "--help"]
