# The sandbox as a server: docker build -f containers/sandbox.Dockerfile -t torl-sandbox .
FROM python:3.13-slim AS build
WORKDIR /src
RUN pip install --no-cache-dir "setuptools>=77"
COPY . .
RUN python .ci/wheels.py /wheels

FROM python:3.13-slim
COPY constraints.txt /tmp/constraints.txt
# Installed while the files of the build are there, and gone with this layer.
RUN --mount=type=bind,from=build,source=/wheels,target=/wheels \
    pip install --no-cache-dir --find-links /wheels -c /tmp/constraints.txt \
      "torl-gym[serve,sandbox]" \
    && useradd --uid 10001 --create-home torl
COPY --chmod=755 containers/serve-sandbox.sh /usr/local/bin/serve-sandbox
USER 10001
WORKDIR /home/torl
ENV PYTHONUNBUFFERED=1 PORT=8080
EXPOSE 8080
# The ping asks for the token too.
HEALTHCHECK --interval=10s --timeout=5s --start-period=60s --retries=3 \
  CMD ["python", "-c", "import os, urllib.request as u; u.urlopen(u.Request('http://127.0.0.1:' + os.environ['PORT'] + '/v1/ping', headers={'Authorization': 'Bearer ' + os.environ['TORL_TOKEN']}), timeout=4)"]
ENTRYPOINT ["serve-sandbox"]
