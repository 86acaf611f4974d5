//! Whether a history can have been: pure functions over what was asked, what was answered, and what was stored in the end.
//!
//! Sound before complete: what is reported is wrong whatever the order of what was under way at the same time. A request
//! lies before another only where its answer was there before the other was sent. A create without an answer, or with a
//! status of 500 and above, may have been done or not.

use std::collections::{BTreeMap, HashMap, HashSet};

use serde::{Deserialize, Serialize};

use super::pieces::Pieces;
use super::{Asked, Details, Person, Request, Said};

/// People that a search tells of at most; what it leaves out then says nothing.
const MOST_FOUND: usize = 50;

/// What is wrong, one sentence each.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct Findings {
    /// Acknowledged or seen, and not stored as sent.
    pub lost: Vec<String>,
    /// Stored or acknowledged twice.
    pub doubled: Vec<String>,
    /// Acknowledged before a request was sent that did not see it.
    pub stale: Vec<String>,
    /// Stored or seen, and sent by nobody, or refused.
    pub phantom: Vec<String>,
    /// Refused for no reason.
    pub unexplained: Vec<String>,
}

impl Findings {
    /// Each kind with its name.
    pub fn kinds(&self) -> [(&'static str, &[String]); 5] {
        [
            ("lost", &self.lost),
            ("doubled", &self.doubled),
            ("stale", &self.stale),
            ("phantom", &self.phantom),
            ("unexplained", &self.unexplained),
        ]
    }

    /// Whether nothing is wrong.
    pub fn is_clean(&self) -> bool {
        self.kinds().iter().all(|(_, found)| found.is_empty())
    }
}

/// What is wrong with these requests, given who is stored in the end and that nobody was in the beginning.
pub fn check(requests: &[Request], rows: &[Person]) -> Findings {
    let known = Known::new(requests, rows);
    let mut findings = Findings::default();
    known.check_rows(&mut findings);
    known.check_creates(&mut findings);
    for request in requests {
        match (&request.asked, &request.said) {
            (_, Some(Said::Nonsense(text))) => findings.phantom.push(told(request, &format!("answered {text:?}"))),
            (Asked::Fetch(id), said) => known.check_fetch(request, id, said.as_ref(), &mut findings),
            (Asked::Search(term), Some(Said::People(people))) => {
                known.check_search(request, term, people, &mut findings);
            }
            (Asked::Count, Some(Said::Number(number))) => known.check_count(request, *number, &mut findings),
            _ => known.check_refusal(request, &mut findings),
        }
    }
    findings
}

/// A create and what was asked for by it.
struct Create<'a> {
    request: &'a Request,
    details: &'a Details,
    texts: Vec<String>,
}

impl Create<'_> {
    /// The id that a 201 named.
    fn acknowledged(&self) -> Option<&str> {
        match (self.request.status, &self.request.said) {
            (Some(201), Some(Said::Id(id))) => Some(id),
            _ => None,
        }
    }

    fn refused(&self) -> bool {
        self.request.status.is_some_and(|status| (400..500).contains(&status))
    }

    fn has(&self, folded: &str) -> bool {
        self.texts.iter().any(|text| text.contains(folded))
    }
}

/// The history by what is looked up in it.
struct Known<'a> {
    creates: Vec<Create<'a>>,
    by_texts: Pieces,
    by_details: HashMap<&'a Details, Vec<usize>>,
    by_nickname: HashMap<&'a str, Vec<usize>>,
    /// Acknowledged creates by id.
    by_id: HashMap<&'a str, Vec<usize>>,
    rows: &'a [Person],
    rows_by_id: HashMap<&'a str, &'a Person>,
    stored_nicknames: HashSet<&'a str>,
    stored: HashSet<&'a Details>,
    /// When the 201s were received, in order.
    acknowledgements: Vec<u64>,
    /// When the creates were sent that were not refused, in order.
    sent: Vec<u64>,
}

impl<'a> Known<'a> {
    fn new(requests: &'a [Request], rows: &'a [Person]) -> Self {
        let creates: Vec<Create> = requests.iter().filter_map(create).collect();
        let mut by_details: HashMap<_, Vec<usize>> = HashMap::new();
        let mut by_nickname: HashMap<_, Vec<usize>> = HashMap::new();
        let mut by_id: HashMap<_, Vec<usize>> = HashMap::new();
        let (mut acknowledgements, mut sent) = (Vec::new(), Vec::new());
        let mut by_texts = Pieces::default();
        for (nth, create) in creates.iter().enumerate() {
            by_texts.add(nth, &create.texts);
            by_details.entry(create.details).or_default().push(nth);
            by_nickname.entry(create.details.nickname.as_str()).or_default().push(nth);
            if let (Some(201), Some(Said::Id(id))) = (create.request.status, &create.request.said) {
                by_id.entry(id.as_str()).or_default().push(nth);
                acknowledgements.push(create.request.end);
            }
            if !create.refused() {
                sent.push(create.request.begin);
            }
        }
        acknowledgements.sort_unstable();
        sent.sort_unstable();
        Self {
            by_texts,
            by_details,
            by_nickname,
            by_id,
            creates,
            rows,
            rows_by_id: rows.iter().map(|row| (row.id.as_str(), row)).collect(),
            stored_nicknames: rows.iter().map(|row| row.details.nickname.as_str()).collect(),
            stored: rows.iter().map(|row| &row.details).collect(),
            acknowledgements,
            sent,
        }
    }

    fn check_rows(&self, findings: &mut Findings) {
        let (mut ids, mut nicknames) = (HashSet::new(), HashSet::new());
        for row in self.rows {
            if !ids.insert(&row.id) {
                findings.doubled.push(format!("two rows have the id {}", row.id));
            }
            if !nicknames.insert(&row.details.nickname) {
                findings.doubled.push(format!("two rows have the nickname {:?}", row.details.nickname));
            }
            if let Some(fault) = self.fault_of(row, u64::MAX) {
                findings.phantom.push(format!("the row {} {:?} {fault}", row.id, row.details.nickname));
            }
        }
    }

    /// Why nobody can be like that at a moment, if nobody can.
    fn fault_of(&self, person: &Person, moment: u64) -> Option<&'static str> {
        let Some(creates) = self.by_details.get(&person.details) else { return Some("was sent by nobody") };
        let mut creates = creates.iter().map(|nth| &self.creates[*nth]).filter(|create| create.request.begin < moment);
        let mut fault = "had not been sent yet";
        let explains = |create: &Create| match create.acknowledged() {
            Some(id) if id != person.id => Err("is another person's id"),
            _ if create.refused() => Err("was refused"),
            _ => Ok(()),
        };
        let explained = creates.any(|create| explains(create).map_err(|error| fault = error).is_ok());
        (!explained).then_some(fault)
    }

    fn check_creates(&self, findings: &mut Findings) {
        let mut nicknames: BTreeMap<&str, usize> = BTreeMap::new();
        for create in &self.creates {
            let Some(id) = create.acknowledged() else { continue };
            *nicknames.entry(&create.details.nickname).or_default() += 1;
            match self.rows_by_id.get(id) {
                None => findings.lost.push(told(create.request, "was acknowledged, and is not stored")),
                Some(row) if row.details != *create.details => {
                    findings.lost.push(told(create.request, "was acknowledged, and is not stored as sent"));
                }
                Some(_) => {}
            }
        }
        let twice = |count: &usize| *count > 1;
        for (nickname, _) in nicknames.into_iter().filter(|(_, count)| twice(count)) {
            findings.doubled.push(format!("two creates of {nickname:?} were acknowledged"));
        }
        for (id, creates) in &self.by_id {
            if creates.len() > 1 {
                findings.doubled.push(format!("two creates were given the id {id}"));
            }
        }
    }

    fn check_fetch(&self, request: &Request, id: &str, said: Option<&Said>, findings: &mut Findings) {
        let acknowledged = self.by_id.get(id).into_iter().flatten().map(|nth| &self.creates[*nth]);
        let before = acknowledged.into_iter().any(|create| create.request.end < request.begin);
        match said {
            Some(Said::People(people)) => self.check_people(request, people, findings),
            _ if request.status == Some(404) && before => {
                findings.stale.push(told(request, "did not find who was acknowledged before"));
            }
            _ if request.status == Some(404) => {}
            _ => self.check_refusal(request, findings),
        }
        if let Some(Said::People(people)) = said
            && people.iter().any(|person| person.id != id)
        {
            findings.phantom.push(told(request, "found somebody else"));
        }
    }

    fn check_search(&self, request: &Request, term: &str, people: &[Person], findings: &mut Findings) {
        self.check_people(request, people, findings);
        let folded = fold(term);
        let matches = |person: &Person| texts(&person.details).iter().any(|text| text.contains(&folded));
        if people.iter().any(|person| !matches(person)) {
            findings.phantom.push(told(request, "found somebody who does not have the term"));
        }
        let found: HashSet<&str> = people.iter().map(|person| person.id.as_str()).collect();
        if found.len() < people.len() {
            findings.doubled.push(told(request, "found somebody twice"));
        }
        if people.len() >= MOST_FOUND {
            return;
        }
        let before = self.having(&folded).filter(|create| create.request.end < request.begin);
        for id in before.filter_map(Create::acknowledged).filter(|id| !found.contains(id)) {
            findings.stale.push(told(request, &format!("did not find {id}, acknowledged before")));
        }
    }

    /// All creates of whoever has a term.
    fn having(&self, folded: &str) -> impl Iterator<Item = &Create<'a>> {
        let candidates = self.by_texts.candidates(folded);
        let all = candidates.is_none().then_some(&self.creates).into_iter().flatten();
        let some = candidates.into_iter().flatten().map(|nth| &self.creates[*nth]);
        some.chain(all).filter(move |create| create.has(folded))
    }

    /// Whoever is seen was sent before, and stays.
    fn check_people(&self, request: &Request, people: &[Person], findings: &mut Findings) {
        for person in people {
            match self.fault_of(person, request.end) {
                Some(fault) => {
                    let what = format!("found {} {:?}, who {fault}", person.id, person.details.nickname);
                    findings.phantom.push(told(request, &what));
                }
                None if !self.stored.contains(&person.details) => {
                    findings.lost.push(told(request, &format!("found {}, who is not stored in the end", person.id)));
                }
                None => {}
            }
        }
    }

    fn check_count(&self, request: &Request, number: u64, findings: &mut Findings) {
        let least = before(&self.acknowledgements, request.begin);
        let most = before(&self.sent, request.end);
        if number < least {
            findings.stale.push(told(request, &format!("answered {number}, with {least} acknowledged before")));
        }
        if number > most {
            findings.phantom.push(told(request, &format!("answered {number}, with {most} sent so far")));
        }
    }

    /// All that the load asks for is valid: the only reason to refuse is a nickname that somebody has.
    fn check_refusal(&self, request: &Request, findings: &mut Findings) {
        let Some(status) = request.status.filter(|status| (400..500).contains(status)) else { return };
        let taken = || match &request.asked {
            Asked::Create(details) => self.is_taken(request, details),
            _ => false,
        };
        if status != 422 || !taken() {
            findings.unexplained.push(told(request, &format!("was refused with {status}")));
        }
    }

    /// Whether somebody else may have had the nickname by the end of a request.
    fn is_taken(&self, request: &Request, details: &Details) -> bool {
        let rivals = self.by_nickname.get(details.nickname.as_str()).into_iter().flatten();
        let mut rivals = rivals.map(|nth| &self.creates[*nth]);
        let stored = |rival: &Create| {
            self.stored_nicknames.contains(details.nickname.as_str()) && self.stored.contains(rival.details)
        };
        rivals.any(|rival| {
            !std::ptr::eq(rival.request, request)
                && rival.request.begin < request.end
                && (rival.acknowledged().is_some() || (!rival.refused() && stored(rival)))
        })
    }
}

fn create(request: &Request) -> Option<Create<'_>> {
    match &request.asked {
        Asked::Create(details) => Some(Create { request, details, texts: texts(details) }),
        _ => None,
    }
}

/// The texts that a search looks through. The load sends no character whose case folds in more than one way.
fn texts(details: &Details) -> Vec<String> {
    let stack = details.stack.iter().flatten();
    [&details.nickname, &details.fullname].into_iter().chain(stack).map(|text| fold(text)).collect()
}

fn fold(text: &str) -> String {
    text.to_lowercase()
}

/// How many of these moments, which are in order, lie before another.
fn before(moments: &[u64], moment: u64) -> u64 {
    moments.partition_point(|earlier| *earlier < moment) as u64
}

fn told(request: &Request, what: &str) -> String {
    let asked = match &request.asked {
        Asked::Create(details) => format!("create of {:?}", details.nickname),
        Asked::Fetch(id) => format!("fetch of {id}"),
        Asked::Search(term) => format!("search for {term:?}"),
        Asked::Count => "count".to_owned(),
    };
    format!("at {:.3} s, client {}: the {asked} {what}", request.begin as f64 / 1e6, request.client)
}
