# The server alone, on 0.0.0.0:4010. Set SORA_MOCK_CONTROL_TOKEN to open its control API (docs/containers.md).
ARG BASE=python:3.13-slim-bookworm

FROM ${BASE} AS build
# strip removes debug symbols, which are two fifths of the installed size. The version is not pinned, because the image
# keeps nothing of this stage
# hadolint ignore=DL3008
RUN apt-get update \
    && apt-get install --yes --no-install-recommends binutils \
    && rm -rf /var/lib/apt/lists/*
WORKDIR /src
COPY pyproject.toml constraints.txt README.md LICENSE ./
COPY openapi openapi
COPY fixtures fixtures
COPY contract_tests contract_tests
COPY mock_server mock_server
# the pip of the build stage installs into an environment that has no pip
RUN pip wheel --no-cache-dir --no-deps --wheel-dir /wheel . \
    && python -m venv --without-pip /opt/sora-mock \
    && pip --python /opt/sora-mock/bin/python install --no-cache-dir --constraint constraints.txt /wheel/*.whl \
    && find /opt/sora-mock -name '*.so' -exec strip --strip-unneeded {} + \
    && find /opt/sora-mock -type f '(' -name '*.pyx' -o -name '*.pxd' ')' -delete

FROM ${BASE}
COPY --from=build /opt/sora-mock /opt/sora-mock
ENV PATH=/opt/sora-mock/bin:$PATH \
    SORA_MOCK_HOST=0.0.0.0
# an empty folder: mount your settings file here
WORKDIR /etc/sora-mock
USER 10001:10001
EXPOSE 4010
HEALTHCHECK --interval=5s --timeout=5s --start-period=10s --retries=3 \
    CMD ["sh", "-c", "sora-mock wait http://127.0.0.1:${SORA_MOCK_PORT:-4010} --timeout 3"]
ENTRYPOINT ["sora-mock"]
CMD ["serve"]
