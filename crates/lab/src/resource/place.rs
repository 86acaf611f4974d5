//! Named resources and the places in them.

use std::collections::BTreeMap;
use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::time::Duration;

use anyhow::bail;
use tokio::sync::{OwnedSemaphorePermit, Semaphore};

/// How long one use holds its place.
pub const USE: Duration = Duration::from_millis(500);

/// Something that counts its current users and, with a limit, turns away those who find no place.
pub struct Resource {
    /// What it is called in addresses and on pages.
    pub name: String,
    /// Most uses at once; `None` is as many as come.
    pub limit: Option<usize>,
    places: Arc<Semaphore>,
    capacity: usize,
    peak: AtomicUsize,
}

/// A place taken. It is given back when this is dropped, however that comes about.
pub struct Place {
    _permit: OwnedSemaphorePermit,
}

impl Resource {
    /// An unused resource.
    pub fn new(name: String, limit: Option<usize>) -> Self {
        let capacity = limit.unwrap_or(Semaphore::MAX_PERMITS);
        Self { name, limit, places: Arc::new(Semaphore::new(capacity)), capacity, peak: AtomicUsize::new(0) }
    }

    /// Takes a place if one is free: the test and the increment are one atomic step.
    pub fn try_take(&self) -> Option<Place> {
        let permit = self.places.clone().try_acquire_owned().ok()?;
        Some(self.taken(permit))
    }

    /// Takes a place, waiting in line until one is free.
    pub async fn take(&self) -> Option<Place> {
        let permit = self.places.clone().acquire_owned().await.ok()?;
        Some(self.taken(permit))
    }

    /// Uses under way.
    pub fn in_use(&self) -> usize {
        self.capacity - self.places.available_permits()
    }

    /// Most uses at once since [`Resource::forget_peak`].
    pub fn peak(&self) -> usize {
        self.peak.load(Ordering::Relaxed)
    }

    /// Begins a new count of the peak.
    pub fn forget_peak(&self) {
        self.peak.store(self.in_use(), Ordering::Relaxed);
    }

    fn taken(&self, permit: OwnedSemaphorePermit) -> Place {
        self.peak.fetch_max(self.in_use(), Ordering::Relaxed);
        Place { _permit: permit }
    }
}

impl Place {
    /// Holds the place as long as a use takes, then gives it back.
    pub async fn hold(self) {
        tokio::time::sleep(USE).await;
    }
}

/// The resources of a server by name; the first is meant where a request names none.
pub struct Resources {
    first: Arc<Resource>,
    by_name: BTreeMap<String, Arc<Resource>>,
}

impl Resources {
    /// Makes the resources of `specs`, each `NAME` or `NAME=LIMIT`; those without a limit of their own get `limit`.
    ///
    /// # Errors
    ///
    /// When a name is empty or doubled, or a limit is not a number of at least 1.
    pub fn new(specs: &[String], limit: Option<usize>) -> anyhow::Result<Self> {
        let mut by_name = BTreeMap::new();
        let mut first = None;
        for spec in specs {
            let resource = Arc::new(parse(spec, limit)?);
            first.get_or_insert_with(|| resource.clone());
            if let Some(doubled) = by_name.insert(resource.name.clone(), resource) {
                bail!("--resource {}: given twice", doubled.name);
            }
        }
        let Some(first) = first else { bail!("--resource: at least one is needed") };
        Ok(Self { first, by_name })
    }

    /// The resource called `name`, or the first one.
    pub fn get(&self, name: Option<&str>) -> Option<&Arc<Resource>> {
        match name {
            None => Some(&self.first),
            Some(name) => self.by_name.get(name),
        }
    }

    /// All of them, by name.
    pub fn all(&self) -> impl Iterator<Item = &Arc<Resource>> {
        self.by_name.values()
    }
}

fn parse(spec: &str, limit: Option<usize>) -> anyhow::Result<Resource> {
    let (name, limit) = match spec.split_once('=') {
        None => (spec, limit),
        Some((name, own)) => match own.parse::<usize>() {
            Ok(own) if (1..=Semaphore::MAX_PERMITS).contains(&own) => (name, Some(own)),
            _ => bail!("--resource {spec}: the limit must be a whole number of at least 1"),
        },
    };
    let is_plain = |character: char| character.is_ascii_alphanumeric() || "-_".contains(character);
    if name.is_empty() || !name.chars().all(is_plain) {
        bail!("--resource {spec}: a name consists of ASCII letters, digits, - and _");
    }
    Ok(Resource::new(name.to_owned(), limit))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_place_comes_back_when_dropped() {
        let resource = Resource::new("a".into(), Some(2));
        let first = resource.try_take().expect("free");
        let _second = resource.try_take().expect("free");
        assert!(resource.try_take().is_none());
        assert_eq!(resource.in_use(), 2);
        drop(first);
        assert_eq!(resource.in_use(), 1);
        assert!(resource.try_take().is_some());
    }

    #[test]
    fn never_more_than_the_limit_from_many_threads() {
        let resource = Resource::new("a".into(), Some(15));
        std::thread::scope(|scope| {
            for _ in 0..8 {
                scope.spawn(|| {
                    for _ in 0..2_000 {
                        let place = resource.try_take();
                        assert!(resource.in_use() <= 15);
                        drop(place);
                    }
                });
            }
        });
        assert_eq!(resource.in_use(), 0);
        assert!(resource.peak() <= 15);
    }

    #[tokio::test]
    async fn a_panic_gives_the_place_back() {
        let resource = Arc::new(Resource::new("a".into(), None));
        let place = resource.try_take().expect("free");
        let died = tokio::spawn(async move {
            let _place = place;
            panic!("as told");
        });
        assert!(died.await.is_err());
        assert_eq!(resource.in_use(), 0);
    }

    #[test]
    fn reads_names_and_limits() {
        let specs = ["mock".to_owned(), "printer=1".to_owned()];
        let resources = Resources::new(&specs, Some(15)).expect("valid");
        assert_eq!(resources.get(None).map(|found| (found.name.as_str(), found.limit)), Some(("mock", Some(15))));
        assert_eq!(resources.get(Some("printer")).and_then(|found| found.limit), Some(1));
        assert!(resources.get(Some("none")).is_none());
    }

    #[test]
    fn refuses_what_is_no_resource() {
        for specs in [&[][..], &["a", "a"], &["=1"], &["a=0"], &["a=x"], &["a b"], &["ä"]] {
            let specs: Vec<String> = specs.iter().map(|&spec| spec.to_owned()).collect();
            assert!(Resources::new(&specs, None).is_err(), "{specs:?}");
        }
    }
}
