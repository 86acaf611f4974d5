// What both sides get: each virtual user posts ten names, one after another, again and again.
import http from "k6/http";
import { check } from "k6";

const names = ["one", "two", "three", "four", "five", "six", "seven", "eight", "nine", "ten"];
const headers = { "Content-Type": "application/json" };

// VUS and DURATION change the load; GRACE is how long the last answers are waited for.
export const load = {
  scenarios: {
    users: {
      executor: "constant-vus",
      vus: Number(__ENV.VUS || 10),
      duration: __ENV.DURATION || "5s",
      gracefulStop: __ENV.GRACE || "30s",
    },
  },
  thresholds: { checks: ["rate==1"] },
  // With the 99th percentile, which the pages ask for.
  summaryTrendStats: ["avg", "min", "med", "max", "p(95)", "p(99)"],
};

// RUN names the run, so that it is told from those of others.
const run = __ENV.RUN ? `?run=${__ENV.RUN}` : "";

export function postNames(target) {
  for (const name of names) {
    const response = http.post(`${target}/users${run}`, JSON.stringify({ name }), { headers, timeout: "60s" });
    check(response, { "status is 200": (answer) => answer.status === 200 });
  }
}
