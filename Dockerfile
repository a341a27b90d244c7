# The book and its tools on a bare Debian: docker build -t noise-injection-companion .
#   docker run --rm -p 8000:8000 noise-injection-companion           serves the pages
#   docker run --rm noise-injection-companion make test              runs every test
# Binder builds the same for a user that it names, and starts Jupyter in it.
FROM debian:13-slim
ARG NB_USER=reader
ARG NB_UID=1000
ENV LC_ALL=C.UTF-8
ENV HOME=/home/${NB_USER}
# As in .ci/run: chromium and node are for the tests.
RUN apt-get -qq update \
 && apt-get -qq install --yes --no-install-recommends \
    ca-certificates chromium dataset-fashion-mnist git make nodejs python3 python3-venv \
 && rm -rf /var/lib/apt/lists/* \
 && useradd --uid ${NB_UID} --create-home ${NB_USER}
WORKDIR ${HOME}/companion
COPY . .
RUN chown -R ${NB_USER} ${HOME}
USER ${NB_USER}
RUN make book
RUN .venv/bin/python -m pip install --quiet jupyterlab==4.6.6
ENV PATH=${HOME}/companion/.venv/bin:${PATH}
EXPOSE 8000
CMD ["python3", "-m", "http.server", "--directory", "_build/html", "8000"]
