//! What one connection sends, request after request.

use hyper::Method;
use hyper::StatusCode;

use super::Source;
use crate::load::base_url::BaseUrl;
use crate::load::payloads::random::Random;
use crate::load::payloads::{self, Person};
use crate::load::vocabulary::Vocabulary;

/// Searches are rarer than creates in the event by about this factor.
const CREATES_PER_SEARCH: u32 = 5;

/// One request and what counts as an answer to it.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Request {
    /// GET or POST.
    pub method: Method,
    /// Path and query.
    pub path: String,
    /// JSON; empty with GET.
    pub body: String,
    /// The one status that is right; without it any below 400 is.
    pub expected: Option<StatusCode>,
}

/// The endless sequence of requests of one connection.
pub enum Script {
    /// The same path again and again.
    Get(String),
    /// Create, fetch, and now and then search.
    People(Box<People>),
}

/// Where the mix on the people API stands.
pub struct People {
    target: BaseUrl,
    vocabulary: Vocabulary,
    random: Random,
    people: Box<dyn Iterator<Item = Person>>,
    terms: Box<dyn Iterator<Item = String>>,
    created: Option<String>,
    creates: u32,
}

impl Script {
    /// A sequence of its own that no other resembles.
    pub fn new(source: &Source) -> Self {
        if let Some(path) = &source.path {
            return Self::Get(source.target.path(path));
        }
        let mut random = Random::unseeded();
        Self::People(Box::new(People {
            target: source.target.clone(),
            vocabulary: source.vocabulary,
            people: Box::new(payloads::people(random.next_u64()).filter(|person| person.status == 201)),
            terms: Box::new(payloads::terms(random.next_u64())),
            random,
            created: None,
            creates: 0,
        }))
    }

    /// The next request.
    pub fn request(&mut self) -> Request {
        match self {
            Self::Get(path) => Request { method: Method::GET, path: path.clone(), body: String::new(), expected: None },
            Self::People(people) => people.request(),
        }
    }

    /// Takes note of the path of whom the last request created.
    pub fn created(&mut self, path: String) {
        if let Self::People(people) = self {
            people.created = Some(path);
        }
    }
}

impl People {
    fn request(&mut self) -> Request {
        if let Some(path) = self.created.take() {
            return get(path);
        }
        self.creates += 1;
        if self.creates > CREATES_PER_SEARCH {
            self.creates = 0;
            return self.search();
        }
        self.create()
    }

    fn search(&mut self) -> Request {
        let term = self.terms.next().unwrap_or_default().replace(' ', "+");
        get(format!("{}?{}={term}", self.people_path(), self.vocabulary.search_parameter()))
    }

    fn create(&mut self) -> Request {
        // Long enough never to come up again, also in another process.
        let nickname: String = (0..32).map(|_| char::from(b'a' + self.random.below(26) as u8)).collect();
        let body = self.people.next().map(|mut person| {
            person.nickname = nickname;
            person.json(self.vocabulary)
        });
        Request {
            method: Method::POST,
            path: self.people_path(),
            body: body.unwrap_or_default(),
            expected: Some(StatusCode::CREATED),
        }
    }

    fn people_path(&self) -> String {
        self.target.path(self.vocabulary.people_path())
    }
}

fn get(path: String) -> Request {
    Request { method: Method::GET, path, body: String::new(), expected: Some(StatusCode::OK) }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn script(path: Option<&str>) -> Script {
        Script::new(&Source {
            simulate: false,
            target: "http://localhost".parse().unwrap(),
            path: path.map(str::to_owned),
            vocabulary: Vocabulary::Pessoas,
            connections: 1,
        })
    }

    #[test]
    fn fetches_who_was_created_and_searches_after_every_fifth() {
        let mut script = script(None);
        for _ in 0..3 {
            for id in 0..5 {
                let create = script.request();
                assert_eq!((create.method, create.path.as_str()), (Method::POST, "/pessoas"));
                assert_eq!(payloads::Oracle::new(Vocabulary::Pessoas).create(create.body.as_bytes()), 201);
                script.created(format!("/pessoas/{id}"));
                assert_eq!(script.request().path, format!("/pessoas/{id}"));
            }
            assert!(script.request().path.starts_with("/pessoas?t="));
        }
    }

    #[test]
    fn goes_on_creating_when_creates_fail() {
        let mut script = script(None);
        assert_eq!(script.request().method, Method::POST);
        assert_eq!(script.request().method, Method::POST);
    }

    #[test]
    fn keeps_to_a_path() {
        let mut script = script(Some("/health?deep"));
        assert_eq!(script.request().path, "/health?deep");
        assert_eq!(script.request().expected, None);
    }
}
