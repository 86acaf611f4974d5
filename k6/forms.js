// 1,000 opinions in 15 seconds: k6 run k6/forms.js, and queued: k6 run -e WAY=opinion-async k6/forms.js
import http from "k6/http";
import { check } from "k6";
import exec from "k6/execution";

const target = __ENV.FORMS_URL || "http://localhost:5000";
const way = __ENV.WAY || "opinion";
const opinions = Number(__ENV.OPINIONS || 1000);
// RUN names the run, so that it is told from those of others.
const run = __ENV.RUN ? `?run=${__ENV.RUN}` : "";
const seconds = Number(__ENV.SECONDS || 15);

export const options = {
  scenarios: {
    opinions: {
      executor: "constant-arrival-rate",
      rate: opinions,
      timeUnit: `${seconds}s`,
      // Half an interval less, or the next opinion after the last would be sent too.
      duration: `${Math.round(seconds * 1000 * (1 - 0.5 / opinions))}ms`,
      // One for each that may wait at once: new ones come too slowly in a burst.
      preAllocatedVUs: Math.min(opinions, 300),
      maxVUs: 1000,
    },
  },
  thresholds: { checks: ["rate==1"], dropped_iterations: ["count==0"] },
  // With the 99th percentile, which the pages ask for.
  summaryTrendStats: ["avg", "min", "med", "max", "p(95)", "p(99)"],
};

export default function () {
  const number = exec.scenario.iterationInTest;
  // On a busy machine k6 catches up at the end, and begins a few too many.
  if (number >= opinions) return;
  // The name finds the opinion again in the database and in k6's own output.
  const name = `${way} ${__ENV.RUN || "by hand"} ${number}`;
  const response = http.post(`${target}/${way}${run}`, { opinion: `Opinion number ${number}`, name }, { redirects: 0, tags: { opinion: name } });
  check(response, { "status is 303": (answer) => answer.status === 303 });
}
