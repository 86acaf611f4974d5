//! Histograms of times as text, for the run document.

use anyhow::Context;
use base64::{Engine, prelude::BASE64_STANDARD};
use hdrhistogram::Histogram;
use hdrhistogram::serialization::{Deserializer, Serializer, V2DeflateSerializer};

/// The histogram in HDR's V2 format, deflated, as base64: what every HDR histogram library reads.
///
/// # Errors
///
/// None that a histogram in memory can cause; the library reports them as errors nonetheless.
pub fn encode(histogram: &Histogram<u64>) -> anyhow::Result<String> {
    let mut bytes = Vec::new();
    V2DeflateSerializer::new().serialize(histogram, &mut bytes).context("cannot write a histogram")?;
    Ok(BASE64_STANDARD.encode(bytes))
}

/// The histogram that [`encode`] wrote.
///
/// # Errors
///
/// The text is not base64, or no HDR histogram.
pub fn decode(text: &str) -> anyhow::Result<Histogram<u64>> {
    let bytes = BASE64_STANDARD.decode(text).context("a histogram is not base64")?;
    Deserializer::new().deserialize(&mut bytes.as_slice()).context("a histogram cannot be read")
}
