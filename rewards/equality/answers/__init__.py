"""One room for each type of answer: how it is read, compared and refused."""
