import scala.concurrent.duration._

import io.gatling.core.Predef._
import io.gatling.core.controller.inject.open.OpenInjectionStep
import io.gatling.http.Predef._

/** The event's load test: people created and fetched, searches, and searches without a term.
  *
  * At factors of 1 it lasts 205 seconds and brings 54,635, 9,590 and 4,190 users, each on a connection of its own.
  *
  * Parameters are environment variables:
  *
  *   - `PELEJA_BASE_URL`: where the API is, by default `http://localhost:9999`
  *   - `PELEJA_VOCABULARY`: `users` (the default) or `pessoas`
  *   - `PELEJA_PAYLOADS`, `PELEJA_SEARCH_TERMS`: the TSV files, as paths or as names in the resources folder;
  *     by default `users-payloads.tsv` and `search-terms.tsv`, or for `pessoas` `pessoas-payloads.tsv` and `termos-busca.tsv`
  *   - `PELEJA_RATE_FACTOR`, `PELEJA_DURATION_FACTOR`: multiply every arrival rate and every duration, by default 1
  */
class PelejaSimulation extends Simulation {

  private val (path, term, payloads, terms) = setting("VOCABULARY", "users") match {
    case "users"   => ("/users", "q", "users-payloads.tsv", "search-terms.tsv")
    case "pessoas" => ("/pessoas", "t", "pessoas-payloads.tsv", "termos-busca.tsv")
    case other     => throw new IllegalArgumentException(s"PELEJA_VOCABULARY is '$other', and not 'users' or 'pessoas'")
  }
  private val rateFactor = factor("RATE_FACTOR")
  private val durationFactor = factor("DURATION_FACTOR")

  private val createAndFetch = scenario("create, then fetch")
    .feed(tsv(setting("PAYLOADS", payloads)).circular)
    .exec(
      http("create")
        .post(path)
        .header("Content-Type", "application/json")
        .body(StringBody("#{payload}"))
        .check(status.in(201, 422, 400))
        .checkIf((response: Response, _: Session) => response.status.code == 201)(header("Location").saveAs("location"))
    )
    .doIf(session => session.contains("location")) {
      pause(1.millisecond, 30.milliseconds).exec(http("fetch").get("#{location}").check(successful))
    }

  private val search = scenario("valid search")
    .feed(tsv(setting("SEARCH_TERMS", terms)).circular)
    .exec(http("search").get(path).queryParam(term, "#{t}").check(successful))

  private val invalidSearch = scenario("invalid search")
    .exec(http("invalid search").get(path).check(status.is(400)))

  setUp(
    createAndFetch.inject(constant(2, 10.seconds), constant(5, 15.seconds), ramp(6, 600, 180.seconds)),
    search.inject(constant(2, 25.seconds), ramp(6, 100, 180.seconds)),
    invalidSearch.inject(constant(2, 25.seconds), ramp(6, 40, 180.seconds))
  ).protocols(http.baseUrl(setting("BASE_URL", "http://localhost:9999")).userAgentHeader("Peleja"))

  private def constant(rate: Double, duration: FiniteDuration): OpenInjectionStep =
    constantUsersPerSec(rate * rateFactor).during(scaled(duration))

  private def ramp(from: Double, to: Double, duration: FiniteDuration): OpenInjectionStep =
    rampUsersPerSec(from * rateFactor).to(to * rateFactor).during(scaled(duration))

  private def scaled(duration: FiniteDuration): FiniteDuration =
    (duration.toMillis * durationFactor).round.milliseconds

  private def successful = status.in(200 to 299)

  private def factor(name: String): Double = {
    val text = setting(name, "1")
    text.toDoubleOption
      .filter(value => value > 0 && !value.isInfinite)
      .getOrElse(throw new IllegalArgumentException(s"PELEJA_$name is '$text', and not a number above 0"))
  }

  private def setting(name: String, default: String): String =
    sys.env.get(s"PELEJA_$name").filter(_.nonEmpty).getOrElse(default)
}
