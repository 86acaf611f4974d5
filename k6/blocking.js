// k6 run k6/blocking.js, or docker compose run k6 run /tests/blocking.js
import { load, postNames } from "./users.js";

export const options = load;

const target = __ENV.BLOCKING_URL || "http://localhost:8000";

export default () => postNames(target);
