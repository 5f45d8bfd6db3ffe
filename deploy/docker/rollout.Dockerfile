# Image of the rollouts: vLLM, from the root of the repository:
#   docker build --file deploy/docker/rollout.Dockerfile --tag hiper-rollout .
# With GPUs: --build-arg ACCELERATOR=gpu --build-arg RUNTIME_PACKAGES="gcc libc6-dev". Triton, which vLLM runs there, compiles at run time;
# this is the one image with a compiler.
ARG BASE_IMAGE=python:3.11.14-slim-bookworm

# Packages, and a list of them. The virtual environment holds no pip.
FROM ${BASE_IMAGE} AS build
ARG PIP_INDEX_URL
ARG PIP_EXTRA_INDEX_URL
ARG PIP_FIND_LINKS
ARG PIP_CERT
ARG PIP_DEFAULT_TIMEOUT=60
ENV PIP_NO_CACHE_DIR=1 PIP_DISABLE_PIP_VERSION_CHECK=1 PIP_CONSTRAINT=/src/requirements/constraints.txt
ARG ACCELERATOR=cpu
WORKDIR /src
COPY requirements requirements
RUN python3 -m venv /opt/tools && /opt/tools/bin/pip install --quiet --requirement requirements/image-build.txt \
 && python3 -m venv --without-pip /opt/hiper
COPY deploy/docker/rollout-${ACCELERATOR}-unpinned.txt unpinned.txt
RUN grep --invert-match --fixed-strings --file unpinned.txt requirements/constraints.txt > /opt/constraints.txt
ENV PIP_CONSTRAINT=/opt/constraints.txt
# The large ones first: they change least.
RUN /opt/tools/bin/pip --python /opt/hiper install --quiet --requirement requirements/image-rollout-${ACCELERATOR}.txt
RUN /opt/tools/bin/pip --python /opt/hiper install --quiet --no-deps --requirement requirements/image-rollout-${ACCELERATOR}-nodeps.txt
COPY pyproject.toml deploy/docker/dependencies.py ./
RUN python3 dependencies.py tracing > needed.txt \
 && /opt/tools/bin/pip --python /opt/hiper install --quiet --requirement needed.txt
COPY README.md LICENSE ./
COPY hiper hiper
COPY services services
RUN /opt/tools/bin/pip wheel --quiet --no-deps --no-build-isolation --wheel-dir dist . \
 && /opt/tools/bin/pip --python /opt/hiper install --quiet --no-deps dist/*.whl \
 && /opt/tools/bin/cyclonedx-py environment --output-reproducible --output-file /opt/hiper/sbom.cdx.json /opt/hiper

# What every image of HiPER is beside its packages. Named volumes take over the owner of the folders they are mounted on.
FROM ${BASE_IMAGE} AS runtime
RUN echo 'hiper:x:65532:65532:HiPER:/tmp:/usr/sbin/nologin' >> /etc/passwd && echo 'hiper:x:65532:' >> /etc/group \
 && install -d -o 65532 -g 65532 -m 0750 /etc/hiper/secrets /var/lib/hiper/run /var/lib/hiper/rollout /var/lib/hiper/broker /cache
ENV PATH=/opt/hiper/bin:$PATH PYTHONUNBUFFERED=1 PYTHONDONTWRITEBYTECODE=1 HOME=/tmp
WORKDIR /opt/hiper
USER 65532:65532
COPY deploy/docker/healthcheck.py /opt/healthcheck.py
HEALTHCHECK --interval=10s --timeout=5s --start-period=30s --retries=6 CMD ["python3", "-I", "/opt/healthcheck.py", "http", "8080"]
ARG VERSION=0.1.0
ARG REVISION=unknown
LABEL org.opencontainers.image.title="HiPER" \
      org.opencontainers.image.description="Trains plan-execute LLM agents with Hierarchical Advantage Estimation" \
      org.opencontainers.image.licenses="Apache-2.0" \
      org.opencontainers.image.version="${VERSION}" \
      org.opencontainers.image.revision="${REVISION}"

FROM runtime AS rollout
USER root
ARG RUNTIME_PACKAGES="libnuma1"
RUN if [ -n "$RUNTIME_PACKAGES" ]; then apt-get update -qq && apt-get install -qq --yes --no-install-recommends $RUNTIME_PACKAGES \
 && rm -rf /var/lib/apt/lists/* /var/cache/apt/* /var/log/apt /var/log/dpkg.log; fi
USER 65532:65532
ENV HOME=/cache HF_HOME=/cache/huggingface XDG_CACHE_HOME=/cache TRITON_CACHE_DIR=/cache/triton \
    TORCHINDUCTOR_CACHE_DIR=/cache/inductor VLLM_CACHE_ROOT=/cache/vllm
COPY --from=build /opt/hiper /opt/hiper
COPY configs /opt/hiper/configs
ENTRYPOINT ["hiper"]
