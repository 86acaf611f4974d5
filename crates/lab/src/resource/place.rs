//! Named resources and the places in them.

use std::collections::BTreeMap;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::Duration;

use anyhow::bail;
use tokio::sync::Notify;

/// How long one use holds its place.
pub const USE: Duration = Duration::from_millis(500);

/// Something that counts its current users and, with a limit, turns away those who find no place.
pub struct Resource {
    /// What it is called in addresses and on pages.
    pub name: String,
    /// Whether it has a limit of its own, which is not switched.
    own_limit: bool,
    places: Arc<Places>,
}

struct Places {
    count: Mutex<Count>,
    given_back: Notify,
}

struct Count {
    in_use: usize,
    limit: Option<usize>,
}

/// A place taken. It is given back when this is dropped, however that comes about.
pub struct Place {
    /// Uses under way when it was taken, this one included.
    pub in_use: usize,
    places: Arc<Places>,
}

impl Resource {
    /// An unused resource.
    pub fn new(name: String, limit: Option<usize>) -> Self {
        let count = Mutex::new(Count { in_use: 0, limit });
        Self { name, own_limit: false, places: Arc::new(Places { count, given_back: Notify::new() }) }
    }

    /// Takes a place if one is free: the test and the increment are one step.
    pub fn try_take(&self) -> Option<Place> {
        let mut count = self.places.count();
        if count.limit.is_some_and(|limit| count.in_use >= limit) {
            return None;
        }
        count.in_use += 1;
        Some(Place { in_use: count.in_use, places: self.places.clone() })
    }

    /// Takes a place, waiting in line until one is free.
    pub async fn take(&self) -> Place {
        loop {
            let given_back = self.places.given_back.notified();
            if let Some(place) = self.try_take() {
                return place;
            }
            given_back.await;
        }
    }

    /// Uses under way.
    pub fn in_use(&self) -> usize {
        self.places.count().in_use
    }

    /// Most uses at once; `None` is as many as come.
    pub fn limit(&self) -> Option<usize> {
        self.places.count().limit
    }

    /// Switches the limit. Who has a place keeps it.
    fn set_limit(&self, limit: Option<usize>) {
        self.places.count().limit = limit;
        self.places.given_back.notify_waiters();
    }
}

impl Places {
    fn count(&self) -> MutexGuard<'_, Count> {
        self.count.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl Drop for Place {
    fn drop(&mut self) {
        self.places.count().in_use -= 1;
        self.places.given_back.notify_one();
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

    /// What is meant where a request names none.
    pub fn first(&self) -> &Arc<Resource> {
        &self.first
    }

    /// Switches the limit of all that have none of their own.
    pub fn set_limit(&self, limit: Option<usize>) {
        self.all().filter(|resource| !resource.own_limit).for_each(|resource| resource.set_limit(limit));
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
            Ok(own) if own > 0 => (name, Some(own)),
            _ => bail!("--resource {spec}: the limit must be a whole number of at least 1"),
        },
    };
    let is_plain = |character: char| character.is_ascii_alphanumeric() || "-_".contains(character);
    if name.is_empty() || !name.chars().all(is_plain) {
        bail!("--resource {spec}: a name consists of ASCII letters, digits, - and _");
    }
    Ok(Resource { own_limit: spec.contains('='), ..Resource::new(name.to_owned(), limit) })
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
                        assert!(resource.in_use() <= 15 && place.as_ref().is_none_or(|place| place.in_use <= 15));
                        drop(place);
                    }
                });
            }
        });
        assert_eq!(resource.in_use(), 0);
    }

    #[tokio::test]
    async fn a_limit_that_is_raised_lets_those_in_line_in() {
        let resource = Arc::new(Resource::new("a".into(), Some(1)));
        let _first = resource.try_take().expect("free");
        let waiting = tokio::spawn({
            let resource = resource.clone();
            async move { resource.take().await.in_use }
        });
        tokio::task::yield_now().await;
        resource.set_limit(Some(2));
        assert_eq!(waiting.await.expect("a place"), 2);
        resource.set_limit(Some(1));
        assert!(resource.try_take().is_none());
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
        assert_eq!(resources.get(None).map(|found| (found.name.as_str(), found.limit())), Some(("mock", Some(15))));
        assert_eq!(resources.get(Some("printer")).and_then(|found| found.limit()), Some(1));
        resources.set_limit(None);
        let limits: Vec<_> = resources.all().map(|resource| resource.limit()).collect();
        assert_eq!(limits, [None, Some(1)], "its own limit is not switched");
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
