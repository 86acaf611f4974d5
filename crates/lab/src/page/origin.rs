//! A form posted from another site is refused.

use axum::extract::Request;
use axum::http::header::{HOST, ORIGIN};
use axum::http::{HeaderMap, Method, StatusCode};
use axum::middleware::Next;
use axum::response::{IntoResponse, Response};

/// Middleware: answers 403 to what a page of another site made a browser post.
///
/// Programs such as curl, `ab` and k6 send neither header and pass.
pub async fn refuse_other_sites(request: Request, next: Next) -> Response {
    let changes = !matches!(*request.method(), Method::GET | Method::HEAD);
    if changes && !is_own(request.headers()) {
        return (StatusCode::FORBIDDEN, "forms are taken from the lab's own pages only\n").into_response();
    }
    next.run(request).await
}

/// Browsers say in `Sec-Fetch-Site` where a request comes from; older ones only in `Origin`.
fn is_own(headers: &HeaderMap) -> bool {
    if let Some(site) = headers.get("sec-fetch-site") {
        return site == "same-origin" || site == "none";
    }
    let Some(origin) = headers.get(ORIGIN) else {
        return true;
    };
    let host = headers.get(HOST).and_then(|host| host.to_str().ok());
    let origin = origin.to_str().ok().and_then(|origin| origin.split_once("://"));
    matches!((origin, host), (Some((_, origin)), Some(host)) if origin.eq_ignore_ascii_case(host))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn tells_own_pages_from_others() {
        let own: [&[(&'static str, &'static str)]; 5] = [
            &[],
            &[("sec-fetch-site", "same-origin")],
            &[("sec-fetch-site", "none")],
            &[("host", "localhost:5000"), ("origin", "http://localhost:5000")],
            &[("sec-fetch-site", "same-origin"), ("origin", "null")],
        ];
        let others: [&[(&'static str, &'static str)]; 6] = [
            &[("sec-fetch-site", "cross-site")],
            &[("sec-fetch-site", "same-site")],
            &[("sec-fetch-site", "cross-site"), ("host", "a"), ("origin", "http://a")],
            &[("host", "localhost:5000"), ("origin", "http://localhost:4000")],
            &[("host", "localhost:5000"), ("origin", "null")],
            &[("origin", "http://localhost:5000")],
        ];
        for (headers, expected) in own.map(|one| (one, true)).into_iter().chain(others.map(|one| (one, false))) {
            let map = headers.iter().map(|&(name, value)| {
                let name = axum::http::HeaderName::from_static(name);
                (name, axum::http::HeaderValue::from_static(value))
            });
            assert_eq!(is_own(&map.collect()), expected, "{headers:?}");
        }
    }
}
