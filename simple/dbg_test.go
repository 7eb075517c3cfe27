package simple
import ("testing";"fmt";"time")
func TestDbg(t *testing.T){ inWorld(t, Config{}, func(w *world){
 alice, bob := w.phone("alice", "192.0.2.10:5060"), w.phone("bob", "192.0.2.11:5060")
 s,_:=bob.subscribe("alice",600)
 fmt.Println(texts(bob.got()))
 i,_:=w.edge.Describe(s.tag); fmt.Printf("%+v\n",i)
 alice.publish("open","x","")
 for k:=0;k<3;k++ { fmt.Println(texts(bob.got())); time.Sleep(time.Second) 
 i,_=w.edge.Describe(s.tag); fmt.Printf("%+v\n %+v %+v\n",i, w.engine.Stats(), w.edge.Stats())}
})}
