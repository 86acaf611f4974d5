//! Reads a posted form, urlencoded or multipart.

use axum::extract::{Form, FromRequest, Multipart, Request};
use axum::http::StatusCode;
use axum::http::header::CONTENT_TYPE;
use axum::response::{IntoResponse, Response};
use serde::Deserialize;

use super::opinion::Draft;

#[derive(Deserialize)]
struct Fields {
    #[serde(default)]
    opinion: String,
    #[serde(default)]
    name: String,
}

impl<S: Send + Sync> FromRequest<S> for Draft {
    type Rejection = Response;

    async fn from_request(request: Request, state: &S) -> Result<Self, Response> {
        if !is_multipart(&request) {
            let Form(fields) = Form::<Fields>::from_request(request, state).await.map_err(as_bad_request)?;
            return Ok(Self { opinion: fields.opinion, name: fields.name });
        }
        let parts = Multipart::from_request(request, state).await.map_err(IntoResponse::into_response)?;
        read(parts).await.map_err(IntoResponse::into_response)
    }
}

async fn read(mut parts: Multipart) -> Result<Draft, axum::extract::multipart::MultipartError> {
    let mut draft = Draft::default();
    while let Some(part) = parts.next_field().await? {
        match part.name() {
            Some("opinion") => draft.opinion = part.text().await?,
            Some("name") => draft.name = part.text().await?,
            _ => {}
        }
    }
    Ok(draft)
}

/// What cannot be decoded is a bad request; 422 is kept for fields that can be read and break a rule.
fn as_bad_request(rejection: axum::extract::rejection::FormRejection) -> Response {
    match rejection.status() {
        StatusCode::UNPROCESSABLE_ENTITY => (StatusCode::BAD_REQUEST, rejection.body_text()).into_response(),
        _ => rejection.into_response(),
    }
}

fn is_multipart(request: &Request) -> bool {
    let media_type = request.headers().get(CONTENT_TYPE).and_then(|value| value.to_str().ok());
    media_type.is_some_and(|value| value.trim_start().to_ascii_lowercase().starts_with("multipart/form-data"))
}
