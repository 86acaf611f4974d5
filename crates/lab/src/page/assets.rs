//! Style and script of the pages.

use axum::Router;
use axum::extract::Request;
use axum::http::HeaderValue;
use axum::http::header::{CACHE_CONTROL, CONTENT_SECURITY_POLICY, CONTENT_TYPE, X_CONTENT_TYPE_OPTIONS};
use axum::middleware::Next;
use axum::response::{IntoResponse, Response};
use axum::routing::get;

/// The live figures may come from the other server of an experiment, hence the wide `connect-src`.
const POLICY: &str = "default-src 'none'; style-src 'self'; script-src 'self'; img-src 'self' data:; \
    connect-src http: https:; form-action 'self'; base-uri 'none'; frame-ancestors 'none'";

/// `/assets/...`.
pub fn routes() -> Router {
    Router::new().route("/assets/lab.css", get(style)).route("/assets/lab.js", get(script))
}

/// Middleware: tells browsers what these pages may do.
pub async fn protect(request: Request, next: Next) -> Response {
    let mut response = next.run(request).await;
    let headers = response.headers_mut();
    headers.insert(CONTENT_SECURITY_POLICY, HeaderValue::from_static(POLICY));
    headers.insert(X_CONTENT_TYPE_OPTIONS, HeaderValue::from_static("nosniff"));
    response
}

async fn style() -> impl IntoResponse {
    asset("text/css; charset=utf-8", include_str!("lab.css"))
}

async fn script() -> impl IntoResponse {
    asset("text/javascript; charset=utf-8", include_str!("lab.js"))
}

fn asset(media_type: &'static str, content: &'static str) -> impl IntoResponse {
    ([(CONTENT_TYPE, media_type), (CACHE_CONTROL, "no-cache")], content)
}
