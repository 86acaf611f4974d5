//! What is sent, and what sends it.

pub mod base_url;
pub mod clients;
pub(crate) mod driver;
pub mod fill;
pub mod gatling;
pub mod location;
pub mod payloads;
pub mod vocabulary;
