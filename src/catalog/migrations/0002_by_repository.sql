-- Two repositories of one system name are kept apart: `system` is the system's name and, once it is known, the id of
-- the repository: `shop@5f0c…`. What is not known to be of one is dropped: it is filled in again from the repositories.

ALTER TABLE repositories ADD COLUMN marked TEXT;

UPDATE repositories SET marked = seen WHERE repository_id IS NOT NULL AND EXISTS (
    SELECT 1 FROM copies WHERE copies.system = repositories.system AND copies.repository = repositories.name
);

UPDATE runs SET system = system || '@' || (
    SELECT max(repository_id) FROM repositories WHERE repositories.system = runs.system
) WHERE EXISTS (
    SELECT 1 FROM repositories WHERE repositories.system = runs.system AND repository_id IS NOT NULL
);
UPDATE backups SET system = system || '@' || (
    SELECT max(repository_id) FROM repositories WHERE repositories.system = backups.system
) WHERE EXISTS (
    SELECT 1 FROM repositories WHERE repositories.system = backups.system AND repository_id IS NOT NULL
);
UPDATE artifacts SET system = system || '@' || (
    SELECT max(repository_id) FROM repositories WHERE repositories.system = artifacts.system
) WHERE EXISTS (
    SELECT 1 FROM repositories WHERE repositories.system = artifacts.system AND repository_id IS NOT NULL
);
UPDATE copies SET system = system || '@' || (
    SELECT max(repository_id) FROM repositories WHERE repositories.system = copies.system
) WHERE EXISTS (
    SELECT 1 FROM repositories WHERE repositories.system = copies.system AND repository_id IS NOT NULL
);
UPDATE repositories SET system = system || '@' || repository_id WHERE repository_id IS NOT NULL;

DELETE FROM runs WHERE system NOT LIKE '%@%';
DELETE FROM backups WHERE system NOT LIKE '%@%';
DELETE FROM artifacts WHERE system NOT LIKE '%@%';
DELETE FROM copies WHERE system NOT LIKE '%@%';
DELETE FROM repositories WHERE system NOT LIKE '%@%';
