// People of the rinha in the event's words: node:http, PostgreSQL, and Redis for those who are fetched by their id.
const http = require("node:http");
const { randomUUID } = require("node:crypto");
const { Pool } = require("pg");
const redis = require("redis");

const COLUMNS = "id, apelido, nome, to_char(nascimento, 'YYYY-MM-DD') AS nascimento, stack";
const pool = new Pool({ connectionString: process.env.DATABASE_URL, max: 10 });
const cache = redis.createClient({ url: process.env.REDIS_URL });

/** The status that a body deserves. */
function judge(person) {
  if (person === null || typeof person !== "object" || Array.isArray(person)) return 400;
  const { apelido, nome, nascimento, stack } = person;
  if ([apelido, nome, nascimento].some((value) => value === null || value === undefined)) return 422;
  const names = stack ?? [];
  if (!Array.isArray(names) || [apelido, nome, nascimento, ...names].some((text) => typeof text !== "string")) return 400;
  const length = (text) => [...text].length;
  if (length(apelido) > 32 || length(nome) > 100 || names.some((name) => length(name) > 32)) return 422;
  if (Array.isArray(stack) && stack.length === 0) return 422;
  if (!/^\d{4}-\d{2}-\d{2}$/.test(nascimento)) return 400;
  const date = new Date(`${nascimento}T00:00:00Z`);
  return Number.isNaN(date.getTime()) || !date.toISOString().startsWith(nascimento) ? 400 : 201;
}

function parsed(text) {
  try {
    return JSON.parse(text);
  } catch {
    return null;
  }
}

async function create(text) {
  const person = parsed(text);
  const status = judge(person);
  if (status !== 201) return [status];
  const { apelido, nome, nascimento, stack = null } = person;
  const id = randomUUID();
  const searched = [apelido, nome, ...(stack ?? [])].join("\n").toLowerCase();
  const { rowCount } = await pool.query({
    name: "create",
    text: `INSERT INTO pessoas (id, apelido, nome, nascimento, stack, busca)
           VALUES ($1, $2, $3, $4, $5, $6) ON CONFLICT DO NOTHING`,
    values: [id, apelido, nome, nascimento, stack, searched],
  });
  if (rowCount === 0) return [422];
  await cache.set(id, JSON.stringify({ id, apelido, nome, nascimento, stack }));
  return [201, "", { Location: `/pessoas/${id}` }];
}

async function fetch(id) {
  if (!/^[0-9a-f-]{36}$/.test(id)) return [404];
  const cached = await cache.get(id);
  if (cached) return [200, cached];
  const { rows } = await pool.query({ name: "fetch", text: `SELECT ${COLUMNS} FROM pessoas WHERE id = $1`, values: [id] });
  return rows.length ? [200, JSON.stringify(rows[0])] : [404];
}

async function search(term) {
  if (!term) return [400];
  const pattern = `%${term.toLowerCase().replace(/[%_\\]/g, "\\$&")}%`;
  const text = `SELECT ${COLUMNS} FROM pessoas WHERE busca LIKE $1 LIMIT 50`;
  return [200, JSON.stringify((await pool.query({ name: "search", text, values: [pattern] })).rows)];
}

async function count() {
  return [200, (await pool.query("SELECT count(*) FROM pessoas")).rows[0].count];
}

async function answer(request) {
  const { pathname, searchParams } = new URL(request.url, "http://api");
  if (request.method === "POST" && pathname === "/pessoas") {
    const parts = await request.toArray();
    return create(Buffer.concat(parts).toString());
  }
  if (pathname === "/pessoas") return search(searchParams.get("t"));
  if (pathname === "/contagem-pessoas") return count();
  return pathname.startsWith("/pessoas/") ? fetch(pathname.slice("/pessoas/".length)) : [404];
}

const server = http.createServer(async (request, response) => {
  const [status, body = "", more = {}] = await answer(request).catch((error) => [500, String(error)]);
  response.writeHead(status, { "Content-Type": "application/json", ...more }).end(body);
});

cache.connect().then(() => server.listen(8080, "0.0.0.0", 4096));
