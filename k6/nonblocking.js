// k6 run k6/nonblocking.js, or docker compose run k6 run /tests/nonblocking.js
import { load, postNames } from "./users.js";

export const options = load;

const target = __ENV.NONBLOCKING_URL || "http://localhost:8001";

export default () => postNames(target);
