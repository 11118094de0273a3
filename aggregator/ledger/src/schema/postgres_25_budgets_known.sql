CREATE TABLE budget_known(budget text COLLATE "C" NOT NULL PRIMARY KEY, says text COLLATE "C" NOT NULL);
