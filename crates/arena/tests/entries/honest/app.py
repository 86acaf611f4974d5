"""People of the rinha in the event's words: asyncio, asyncpg, and as much HTTP as the load test speaks.

FORGET_EVERY=n makes a liar of it: every n-th person is answered with 201 and never stored.
"""

import asyncio
import datetime
import json
import os
import re
import uuid
from urllib.parse import parse_qs, urlsplit

import asyncpg

FORGET_EVERY = int(os.environ.get("FORGET_EVERY", "0"))
DATE = re.compile(r"\d{4}-\d{2}-\d{2}")
CREATE = """INSERT INTO pessoas (id, apelido, nome, nascimento, stack, busca) VALUES ($1, $2, $3, $4, $5, $6)
            ON CONFLICT DO NOTHING RETURNING 1"""
FETCH = "SELECT id, apelido, nome, nascimento, stack FROM pessoas WHERE id = $1"
SEARCH = "SELECT id, apelido, nome, nascimento, stack FROM pessoas WHERE busca LIKE $1 LIMIT 50"
REASONS = {200: "OK", 201: "Created", 400: "Bad Request", 404: "Not Found", 422: "Unprocessable Entity"}


class Refused(Exception):
    """A request that is answered with a status and nothing else."""

    def __init__(self, status):
        self.status = status


class People:
    def __init__(self, pool):
        self.pool = pool
        self.seen = 0
        self.forgotten = {}

    async def create(self, body):
        apelido, nome, nascimento, stack = person(body)
        found = uuid.uuid4()
        self.seen += 1
        if FORGET_EVERY and self.seen % FORGET_EVERY == 0:
            self.forgotten[found] = (found, apelido, nome, nascimento, stack)
        else:
            busca = "\n".join([apelido, nome, *(stack or [])]).lower()
            if not await self.pool.fetchval(CREATE, found, apelido, nome, nascimento, stack, busca):
                raise Refused(422)
        return 201, b"", f"Location: /pessoas/{found}\r\n"

    async def fetch(self, text):
        try:
            wanted = uuid.UUID(text)
        except ValueError:
            raise Refused(404)
        row = self.forgotten.get(wanted) or await self.pool.fetchrow(FETCH, wanted)
        if row is None:
            raise Refused(404)
        return 200, json.dumps(shown(row)).encode(), ""

    async def search(self, query):
        term = parse_qs(query).get("t", [""])[0].lower()
        if not term:
            raise Refused(400)
        plain = re.sub(r"([%_\\])", r"\\\1", term)
        rows = await self.pool.fetch(SEARCH, f"%{plain}%")
        return 200, json.dumps([shown(row) for row in rows]).encode(), ""

    async def count(self):
        return 200, str(await self.pool.fetchval("SELECT count(*) FROM pessoas")).encode(), ""

    async def answer(self, method, target, body):
        url = urlsplit(target)
        match method, url.path.strip("/").split("/"):
            case "POST", ["pessoas"]:
                return await self.create(body)
            case "GET", ["pessoas"]:
                return await self.search(url.query)
            case "GET", ["pessoas", text]:
                return await self.fetch(text)
            case "GET", ["contagem-pessoas"]:
                return await self.count()
        raise Refused(404)

    async def serve(self, reader, writer):
        try:
            while head := await reader.readuntil(b"\r\n\r\n"):
                first, *fields = head.decode("latin-1").split("\r\n")
                method, target, _ = first.split(" ")
                length = next((int(f[15:]) for f in fields if f.lower().startswith("content-length:")), 0)
                try:
                    status, content, more = await self.answer(method, target, await reader.readexactly(length))
                except Refused as refused:
                    status, content, more = refused.status, b"", ""
                lines = f"HTTP/1.1 {status} {REASONS[status]}\r\nContent-Type: application/json\r\n{more}"
                writer.write(f"{lines}Content-Length: {len(content)}\r\n\r\n".encode() + content)
                await writer.drain()
        except (asyncio.IncompleteReadError, ConnectionError):
            pass
        finally:
            writer.close()


def person(body):
    try:
        given = json.loads(body)
    except ValueError:
        raise Refused(400)
    if not isinstance(given, dict):
        raise Refused(400)
    values = [given.get(key) for key in ("apelido", "nome", "nascimento")]
    if None in values:
        raise Refused(422)
    apelido, nome, nascimento = values
    stack = given.get("stack")
    texts = [apelido, nome, nascimento, *(stack if isinstance(stack, list) else [])]
    if not all(isinstance(text, str) for text in texts) or not isinstance(stack, list | None):
        raise Refused(400)
    if len(apelido) > 32 or len(nome) > 100 or stack == [] or any(len(name) > 32 for name in stack or []):
        raise Refused(422)
    if not DATE.fullmatch(nascimento):
        raise Refused(400)
    try:
        return apelido, nome, datetime.date.fromisoformat(nascimento), stack
    except ValueError:
        raise Refused(400)


def shown(row):
    found, apelido, nome, nascimento, stack = row
    return {
        "id": str(found),
        "apelido": apelido,
        "nome": nome,
        "nascimento": nascimento.isoformat(),
        "stack": stack,
    }


async def connect():
    """The database may take its time to start."""
    while True:
        try:
            return await asyncpg.create_pool(os.environ["DATABASE_URL"], min_size=4, max_size=8)
        except (OSError, asyncpg.PostgresError):
            await asyncio.sleep(0.5)


async def main():
    people = People(await connect())
    server = await asyncio.start_server(people.serve, "0.0.0.0", 3000, backlog=4096)
    await server.serve_forever()


asyncio.run(main())
