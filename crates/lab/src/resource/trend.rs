//! The one number of part 1: how much the resource is used, smoothed a little.

use std::collections::VecDeque;
use std::sync::Arc;
use std::time::Duration;

use futures_util::future::BoxFuture;
use serde_json::json;

use super::place::Resource;
use crate::live::hub::Sample;

/// Time between two samples.
pub const PERIOD: Duration = Duration::from_millis(20);

/// The number is the mean of this many samples.
const SAMPLES: usize = 11;

/// A new number is pushed after this many samples: ten times a second, as fast as an eye follows.
const PUSH_EVERY: usize = 5;

/// Samples one resource.
pub struct Trend {
    resource: Arc<Resource>,
    samples: VecDeque<usize>,
    since_push: usize,
}

impl Trend {
    /// A trend without samples.
    pub fn new(resource: Arc<Resource>) -> Self {
        Self { resource, samples: VecDeque::with_capacity(SAMPLES + 1), since_push: 0 }
    }

    fn add(&mut self, in_use: usize) {
        self.samples.push_back(in_use);
        if self.samples.len() > SAMPLES {
            self.samples.pop_front();
        }
    }

    fn mean(&self) -> f64 {
        self.samples.iter().sum::<usize>() as f64 / self.samples.len().max(1) as f64
    }
}

impl Sample for Trend {
    fn sample(&mut self) -> BoxFuture<'_, Option<String>> {
        self.add(self.resource.in_use());
        self.since_push += 1;
        let due = self.since_push == PUSH_EVERY;
        if due {
            self.since_push = 0;
        }
        let message = due.then(|| json!({ "mean_use": self.mean() }).to_string());
        Box::pin(async { message })
    }
}

#[cfg(test)]
mod tests {
    use futures_util::StreamExt;
    use tokio_util::sync::CancellationToken;

    use super::*;
    use crate::live::hub::Hub;

    #[tokio::test(start_paused = true)]
    async fn samples_every_20_ms_and_pushes_every_fifth() {
        let resource = Arc::new(Resource::new("a".into(), None));
        let hub = Hub::new(PERIOD, CancellationToken::new(), move || Box::new(Trend::new(resource.clone())));
        let began = tokio::time::Instant::now();
        let viewer = hub.subscribe();
        assert_eq!(viewer.take(10).count().await, 10);
        // Fifty samples, the first of them at once; the paused clock is exact to a millisecond or so.
        let took = began.elapsed().as_millis();
        assert!((978..=985).contains(&took), "{took} ms");
    }

    #[test]
    fn is_the_mean_of_the_last_eleven() {
        let mut trend = Trend::new(Arc::new(Resource::new("a".into(), None)));
        assert_eq!(trend.mean(), 0.0);
        for in_use in 0..20 {
            trend.add(in_use);
        }
        assert_eq!(trend.mean(), 14.0);
    }
}
