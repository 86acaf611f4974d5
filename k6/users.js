// What both sides get: each virtual user posts ten names, one after another, again and again.
import http from "k6/http";
import { check } from "k6";

const names = ["one", "two", "three", "four", "five", "six", "seven", "eight", "nine", "ten"];
const headers = { "Content-Type": "application/json" };

// VUS and DURATION change the load; users may take as long as the slowest answer to end.
export const load = {
  vus: Number(__ENV.VUS || 10),
  duration: __ENV.DURATION || "5s",
  thresholds: { checks: ["rate==1"] },
};

export function postNames(target) {
  for (const name of names) {
    const response = http.post(`${target}/users`, JSON.stringify({ name }), { headers, timeout: "60s" });
    check(response, { "status is 200": (answer) => answer.status === 200 });
  }
}
