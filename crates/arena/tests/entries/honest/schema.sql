CREATE EXTENSION pg_trgm;

CREATE TABLE pessoas (
    id uuid PRIMARY KEY,
    apelido varchar(32) UNIQUE NOT NULL,
    nome varchar(100) NOT NULL,
    nascimento date NOT NULL,
    stack varchar(32)[],
    busca text NOT NULL
);

CREATE INDEX ON pessoas USING gin (busca gin_trgm_ops);
