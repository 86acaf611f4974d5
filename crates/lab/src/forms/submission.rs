//! Reads a posted form, urlencoded or multipart.

use axum::body::Bytes;
use axum::extract::{FromRequest, Multipart, RawForm, Request};
use axum::http::StatusCode;
use axum::http::header::CONTENT_TYPE;
use axum::response::{IntoResponse, Response};
use percent_encoding::percent_decode;
use serde::Deserialize;

use super::opinion::Draft;
use crate::server::Refusal;

#[derive(Deserialize)]
struct Fields {
    #[serde(default)]
    opinion: String,
    #[serde(default)]
    name: String,
    #[serde(default)]
    id: String,
}

impl<S: Send + Sync> FromRequest<S> for Draft {
    type Rejection = Response;

    async fn from_request(request: Request, state: &S) -> Result<Self, Response> {
        if !is_multipart(&request) {
            let RawForm(body) = RawForm::from_request(request, state).await.map_err(IntoResponse::into_response)?;
            let Fields { opinion, name, id } = decoded(&body).map_err(IntoResponse::into_response)?;
            return Ok(Self { opinion, name, id });
        }
        let parts = Multipart::from_request(request, state).await.map_err(IntoResponse::into_response)?;
        read(parts).await
    }
}

/// Refuses bytes that are not UTF-8, which decoding would replace.
fn decoded(body: &[u8]) -> Result<Fields, Refusal> {
    percent_decode(body).decode_utf8().map_err(|_| not_utf8())?;
    serde_urlencoded::from_bytes(body).map_err(|_| (StatusCode::BAD_REQUEST, "this is no form\n"))
}

async fn read(mut parts: Multipart) -> Result<Draft, Response> {
    let mut draft = Draft::default();
    while let Some(part) = parts.next_field().await.map_err(IntoResponse::into_response)? {
        let field = match part.name() {
            Some("opinion") => &mut draft.opinion,
            Some("name") => &mut draft.name,
            Some("id") => &mut draft.id,
            _ => continue,
        };
        let bytes = part.bytes().await.map_err(IntoResponse::into_response)?;
        *field = text(bytes).map_err(IntoResponse::into_response)?;
    }
    Ok(draft)
}

fn text(bytes: Bytes) -> Result<String, Refusal> {
    String::from_utf8(bytes.into()).map_err(|_| not_utf8())
}

fn not_utf8() -> Refusal {
    (StatusCode::BAD_REQUEST, "the form is not UTF-8\n")
}

fn is_multipart(request: &Request) -> bool {
    let media_type = request.headers().get(CONTENT_TYPE).and_then(|value| value.to_str().ok());
    media_type.is_some_and(|value| value.trim_start().to_ascii_lowercase().starts_with("multipart/form-data"))
}
