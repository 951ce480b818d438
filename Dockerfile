# One image for every service but PostgreSQL. PyTorch's ordinary build is over 5 GB and runs on CPU and on CUDA.
FROM python:3.12-slim

# The folders lie in the image and belong to its user, so that the named volumes made over them do too.
RUN useradd --create-home --uid 1000 kdsearch \
    && mkdir -p /var/lib/kdsearch/cache /var/lib/kdsearch/state /var/lib/kdsearch/data /var/lib/mlflow \
    && chown -R kdsearch: /var/lib/kdsearch /var/lib/mlflow

WORKDIR /src

# The dependencies are a layer of their own: a changed study or line of kdsearch downloads nothing again.
ARG PIP_EXTRA_INDEX_URL
COPY pyproject.toml ./
RUN python -c "import tomllib; project = tomllib.load(open('pyproject.toml', 'rb'))['project']; \
print(*project['dependencies'], *project['optional-dependencies']['postgres'], sep='\n')" > requirements.txt \
    && pip install --no-cache-dir -r requirements.txt

COPY README.md LICENSE ./
COPY kdsearch kdsearch
COPY studies studies
RUN pip install --no-cache-dir --no-deps ".[postgres]"

USER kdsearch
WORKDIR /home/kdsearch
CMD ["kdsearch", "--help"]
